/** The dirty bitmaps in a running QEMU that backups left (`VmTracking`). */
import type { Clock } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { backingMarks } from '../backing-marks.ts';
import type { QmpBitmap, QmpNode } from '../qmp/qmp-commands.ts';
import { isRemovable, markOf, type TrackingMark } from '../vm-tracking.ts';
import { readBlockLayer } from './block-layer.ts';
import { removeLeftovers } from './traces.ts';

type Found = { readonly mark: TrackingMark; readonly node: string };

export async function listTracking(qmp: QmpClient): Promise<readonly TrackingMark[]> {
  return (await find(qmp)).map(({ mark }) => mark);
}

export async function removeTracking(
  context: { readonly qmp: QmpClient; readonly clock: Clock },
  repositoryId: string | undefined,
): Promise<readonly TrackingMark[]> {
  const { qmp } = context;
  await removeLeftovers(context);
  const found = (await find(qmp)).filter(({ mark }) => isRemovable(mark, repositoryId));
  for (const { mark, node } of found) {
    await qmp.execute('block-dirty-bitmap-remove', { node, name: mark.name });
  }
  return found.map(({ mark }) => mark);
}

async function find(qmp: QmpClient): Promise<readonly Found[]> {
  const { disks } = await readBlockLayer(qmp);
  return disks.flatMap((disk) => {
    const own = disk.bitmaps.map((bitmap) => markOf(bitmap.name ?? '', disk.name, faultOf(bitmap)));
    const marks = [...own, ...backingMarks(disk.name, backingsOf(disk.node))];
    return marks.flatMap((mark) => (mark === undefined ? [] : [{ mark, node: disk.imageNode }]));
  });
}

function backingsOf({ image }: Pick<QmpNode, 'image'>): QmpNode['image'][] {
  const backing = image['backing-image'];
  return backing === undefined ? [] : [backing, ...backingsOf({ image: backing })];
}

function faultOf({ inconsistent, recording }: QmpBitmap): string | undefined {
  if (inconsistent === true) return 'inconsistent: QEMU or its host was killed';
  return recording ? undefined : 'disabled: a backup is running, or was killed';
}
