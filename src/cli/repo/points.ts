/** `holdfast repo points`: the recovery points, oldest first, and what each costs. */
import { listPoints, type ListedPoint } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatTime } from '../output/units.ts';

export async function points(
  context: Context,
  { location, item }: { readonly location: string; readonly item: string | undefined },
): Promise<void> {
  const listed = await context.withRepository(
    { location, access: 'read' },
    async (repository) => await listPoints(repository, item),
  );
  context.terminal.result({ points: listed.map(toJson) }, () => describe(listed));
}

function toJson(point: ListedPoint): unknown {
  const { id, item, timeMs, consistency, disks, freedIfExpired, safetyBefore } = point;
  const safety = safetyBefore === undefined ? {} : { safetyBefore };
  return { id, item, time: timeMs / 1000, consistency, disks, freedIfExpired, ...safety };
}

/** Safety points have a column of their own where there are any. */
function describe(listed: readonly ListedPoint[]): string {
  if (listed.length === 0) return 'No recovery points yet.';
  const columns = [
    left('POINT'),
    left('ITEM'),
    left('TIME'),
    left('DISKS'),
    ...['SIZE', 'OWNED', 'STORED', 'FREED IF EXPIRED'].map(right),
  ];
  if (listed.every(({ safetyBefore }) => safetyBefore === undefined)) {
    return formatTable(columns, listed.map(rowOf));
  }
  const rows = listed.map((point) => [
    ...rowOf(point),
    point.safetyBefore === undefined ? '' : `before it was put back to ${point.safetyBefore}`,
  ]);
  return formatTable([...columns, left('SAFETY')], rows);
}

function rowOf({ id, item, timeMs, disks, freedIfExpired }: ListedPoint): string[] {
  const sum = (of: 'size' | 'owned' | 'ownedStored'): string =>
    formatBytes(disks.reduce((total, disk) => total + disk[of], 0));
  const names = disks.map(({ name }) => name).join(' ');
  return [
    id,
    item,
    formatTime(timeMs),
    names,
    sum('size'),
    sum('owned'),
    sum('ownedStored'),
    formatBytes(freedIfExpired),
  ];
}
