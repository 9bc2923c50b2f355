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
  const { timeMs, ...rest } = point;
  const { id, item, consistency, disks, freedIfExpired, safetyBefore, group } = rest;
  const facts = { id, item, time: timeMs / 1000, consistency, disks, freedIfExpired };
  return {
    ...facts,
    ...(safetyBefore === undefined ? {} : { safetyBefore }),
    ...(group === undefined ? {} : { group }),
  };
}

/** What is seldom has a column where there is any. */
function describe(listed: readonly ListedPoint[]): string {
  if (listed.length === 0) return 'No recovery points yet.';
  const columns = [
    left('POINT'),
    left('ITEM'),
    left('TIME'),
    left('DISKS'),
    ...['SIZE', 'OWNED', 'STORED', 'FREED IF EXPIRED'].map(right),
  ];
  const seldom = SELDOM.filter(({ of }) => listed.some((point) => of(point) !== undefined));
  return formatTable(
    [...columns, ...seldom.map(({ name }) => left(name))],
    listed.map((point) => [...rowOf(point), ...seldom.map(({ of }) => of(point) ?? '')]),
  );
}

const SELDOM: readonly {
  readonly name: string;
  readonly of: (point: ListedPoint) => string | undefined;
}[] = [
  {
    name: 'SAFETY',
    of: ({ safetyBefore }) =>
      safetyBefore === undefined ? undefined : `before it was put back to ${safetyBefore}`,
  },
  {
    name: 'SAME INSTANT',
    of: ({ id, group }) =>
      group?.points
        .flatMap(({ item, point }) => (point === id ? [] : [`${item} ${point}`]))
        .join(', '),
  },
];

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
