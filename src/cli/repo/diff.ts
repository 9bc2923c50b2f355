/** `holdfast repo diff`: where the disks of two points differ, by their maps alone. */
import { diffPoints, findPoint, type DiskDifference } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';

export async function diff(
  context: Context,
  target: {
    readonly location: string;
    readonly from: string;
    readonly to: string;
    readonly item: string | undefined;
  },
): Promise<void> {
  const { location, item } = target;
  const found = await context.withRepository({ location, access: 'read' }, async (repository) => {
    const from = await findPoint(repository, target.from, item);
    const to = await findPoint(repository, target.to, item);
    return { from, to, disks: await diffPoints({ repository, a: from, b: to }) };
  });
  const { from, to, disks } = found;
  context.terminal.result({ from, to, disks: disks.map(toJson) }, () => describe(found));
}

function toJson({ name, sizeA, sizeB, changed, ranges }: DiskDifference): unknown {
  return { name, sizeFrom: sizeA ?? null, sizeTo: sizeB ?? null, changed, ranges };
}

function describe(found: {
  readonly from: string;
  readonly to: string;
  readonly disks: readonly DiskDifference[];
}): string {
  const { from, to, disks } = found;
  const sizeOf = (size: number | undefined): string =>
    size === undefined ? 'absent' : formatBytes(size);
  const table = formatTable(
    [left('DISK'), ...['SIZE BEFORE', 'SIZE AFTER', 'CHANGED', 'RANGES'].map(right)],
    disks.map(({ name, sizeA, sizeB, changed, ranges }) => [
      name,
      sizeOf(sizeA),
      sizeOf(sizeB),
      formatBytes(changed),
      String(ranges.length),
    ]),
  );
  return `From ${from} to ${to} (--json lists the ranges):\n\n${table}`;
}
