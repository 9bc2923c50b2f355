/** Carries out what is done with the bitmaps of a backup: the plan's repairs, its start and its two ends. */
import { isHoldfastError } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QmpAction } from '../qmp/qmp-commands.ts';
import type { Backup, BackupDisk } from './backup.ts';
import { mergeActions, removal, uselessBitmaps } from './bitmap-plan.ts';
import { readBlockLayer, type BlockLayer } from './block-layer.ts';
import { PROBE_BITMAP } from './names.ts';

/** What becomes of a bitmap on this node; found out by making one. */
export async function probeBitmap(
  qmp: QmpClient,
  { node, granularity }: { readonly node: string; readonly granularity: number },
): Promise<{ readonly persistent: boolean } | { readonly refused: string }> {
  let refused = '';
  for (const persistent of [true, false]) {
    const data = { node, name: PROBE_BITMAP, persistent, granularity, disabled: true };
    try {
      // In one, so that whoever dies leaves none.
      await transact(qmp, [{ type: 'block-dirty-bitmap-add', data }, removal(node, PROBE_BITMAP)]);
      return { persistent };
    } catch (error) {
      if (!isHoldfastError(error, 'HypervisorFailed')) throw error;
      refused = String(error.details['text']);
    }
  }
  return { refused };
}

/** The actions that begin a disk's new bitmap. */
export function beginActions({ request }: Backup, { disk, next }: BackupDisk): QmpAction[] {
  if (next === undefined) return [];
  const data = { node: disk.imageNode, ...next, granularity: request.tracking.blockSize };
  return [{ type: 'block-dirty-bitmap-add', data }];
}

/** The actions that end the counting of what is read now. */
export function freezeActions({ disk, base }: BackupDisk): QmpAction[] {
  if (base === undefined) return [];
  return [{ type: 'block-dirty-bitmap-disable', data: { node: disk.imageNode, name: base } }];
}

/** All or none. */
export async function transact(qmp: QmpClient, actions: readonly QmpAction[]): Promise<void> {
  if (actions.length > 0) await qmp.execute('transaction', { actions });
}

/** After a commit: the new bitmaps go on, and are all that is left of this item on the disks. */
export async function keepNewBitmaps({ qmp, request, disks }: Backup): Promise<void> {
  const layer = await readBlockLayer(qmp);
  await transact(
    qmp,
    disks.flatMap(({ disk }) =>
      uselessBitmaps(bitmapsOf(layer, disk.imageNode), request.tracking).map((name) =>
        removal(disk.imageNode, name),
      ),
    ),
  );
}

/** After a failure: as if the backup had not been, whatever of it was done. */
export async function restoreOldBitmaps({ qmp, disks }: Backup): Promise<void> {
  const layer = await readBlockLayer(qmp);
  const actions = disks.flatMap(({ disk, base, next }) => {
    const node = disk.imageNode;
    const has = (name: string): boolean =>
      bitmapsOf(layer, node).some((bitmap) => bitmap.name === name);
    if (next === undefined || !has(next.name)) return [];
    if (base === undefined || !has(base)) return [removal(node, next.name)];
    return mergeActions(node, { into: base, from: [next.name] });
  });
  await transact(qmp, actions);
}

function bitmapsOf(
  layer: BlockLayer,
  node: string,
): NonNullable<BlockLayer['nodes'][number]['dirty-bitmaps']> {
  return layer.nodes.find((known) => known['node-name'] === node)?.['dirty-bitmaps'] ?? [];
}
