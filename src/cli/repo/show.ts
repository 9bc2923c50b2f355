/** `holdfast repo show`: one recovery point, disk by disk. */
import { findPoint, pointDetails, type PointDetails } from '#backup';
import type { Context } from '../context.ts';
import { oneLine } from '../output/one-line.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration, formatTime } from '../output/units.ts';

export async function show(
  context: Context,
  target: { readonly location: string; readonly point: string; readonly item: string | undefined },
): Promise<void> {
  const { location, point, item } = target;
  const details = await context.withRepository(
    { location, access: 'read' },
    async (repository) => await pointDetails(repository, await findPoint(repository, point, item)),
  );
  context.terminal.result(toJson(details), () => describe(details));
}

type ShownDisk = {
  readonly name: string;
  readonly size: number;
  readonly read: number;
  readonly changed: number;
  readonly stored: number;
  readonly owned: number;
  readonly ownedStored: number;
};

function disksOf({ manifest, sizes }: PointDetails): ShownDisk[] {
  return manifest.disks.map((disk) => {
    const cost = sizes.disks.find(({ name }) => name === disk.name);
    return {
      name: disk.name,
      size: disk.sizeBytes,
      read: disk.readBytes,
      changed: disk.changedBytes,
      stored: disk.storedBytes,
      owned: cost?.owned ?? 0,
      ownedStored: cost?.ownedStored ?? 0,
    };
  });
}

function toJson(details: PointDetails): unknown {
  const { manifest, sizes } = details;
  return {
    id: manifest.point,
    item: manifest.item,
    time: manifest.timeMs / 1000,
    consistency: manifest.consistency,
    blockSize: manifest.blockSize,
    seconds: manifest.seconds,
    holdfast: manifest.holdfast,
    disks: disksOf(details),
    freedIfExpired: sizes.freedIfExpired,
    ...(details.safetyBefore === undefined ? {} : { safetyBefore: details.safetyBefore }),
    ...(details.group === undefined ? {} : { group: details.group }),
  };
}

function describe(details: PointDetails): string {
  const { manifest, sizes, safetyBefore, group } = details;
  const facts = [
    `Point        ${manifest.point}`,
    `Item         ${oneLine(manifest.item)}`,
    `Time         ${formatTime(manifest.timeMs)}`,
    `Consistency  ${manifest.consistency}`,
    `Taken in     ${formatDuration(manifest.seconds)}, by Holdfast ${manifest.holdfast}`,
    `If expired   ${formatBytes(sizes.freedIfExpired)} are freed`,
    ...(safetyBefore === undefined
      ? []
      : [`Safety       what was there before it was put back to ${safetyBefore}`]),
    ...(group?.points ?? []).flatMap(({ item, point }) =>
      point === manifest.point ? [] : [`Same instant ${point} of ${oneLine(item)}`],
    ),
  ];
  const columns = [
    left('DISK'),
    ...['SIZE', 'READ', 'CHANGED', 'ADDED TO REPOSITORY', 'OWNS NOW', 'OF IT STORED'].map(right),
  ];
  const rows = disksOf(details).map((disk) => [
    disk.name,
    ...[disk.size, disk.read, disk.changed, disk.stored, disk.owned, disk.ownedStored].map(
      formatBytes,
    ),
  ]);
  return `${facts.join('\n')}\n\n${formatTable(columns, rows)}`;
}
