/** `holdfast repo points`: the recovery points, oldest first, and what each costs. */
import { checkItem, pointSizes, type PointSizes } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatTime } from '../output/units.ts';

export async function points(
  context: Context,
  { location, item }: { readonly location: string; readonly item: string | undefined },
): Promise<void> {
  const listed = await context.withRepository({ location, access: 'read' }, async (repository) => {
    const { state, parts } = repository;
    const isEmpty = ![...state.points.values()].some((point) => point.visible);
    if (item === undefined || isEmpty) return await pointSizes(parts);
    await checkItem(repository, item);
    return await pointSizes(parts, { item });
  });
  context.terminal.result({ points: listed.map(toJson) }, () => describe(listed));
}

function toJson({ id, item, timeMs, consistency, disks, freedIfExpired }: PointSizes): unknown {
  return { id, item, time: timeMs / 1000, consistency, disks, freedIfExpired };
}

function describe(listed: readonly PointSizes[]): string {
  if (listed.length === 0) return 'No recovery points yet.';
  const columns = [
    left('POINT'),
    left('ITEM'),
    left('TIME'),
    left('DISKS'),
    ...['SIZE', 'OWNED', 'STORED', 'FREED IF EXPIRED'].map(right),
  ];
  return formatTable(columns, listed.map(rowOf));
}

function rowOf({ id, item, timeMs, disks, freedIfExpired }: PointSizes): string[] {
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
