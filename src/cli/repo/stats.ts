/** `holdfast repo stats`: the sizes of the repository; stored, live, dead and deleted, never mixed. */
import { repositoryStatistics, type RepositoryStatistics } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';

export async function stats(context: Context, location: string): Promise<void> {
  const statistics = await context.withRepository({ location, access: 'read' }, ({ parts }) =>
    Promise.resolve(repositoryStatistics(parts)),
  );
  context.terminal.result(statistics, () => describe(statistics));
}

function describe(statistics: RepositoryStatistics): string {
  const sizes = [
    ['stored', formatBytes(statistics.storedBytes), 'all packs'],
    ['live', formatBytes(statistics.liveBytes), 'needed by points'],
    ['dead', formatBytes(statistics.deadBytes), 'needed by none: holdfast repo compact frees it'],
    ['overhead', formatBytes(statistics.overheadBytes), 'headers and footers of packs'],
    [
      'deleted',
      formatBytes(statistics.reclaimedBytes),
      'packs deleted by compaction so far, whole: what points need of them was moved first',
    ],
  ];
  const counts = [
    ['points', String(statistics.points), `of ${statistics.items} items`],
    ['blocks', String(statistics.blocks), `stored, of ${formatBytes(statistics.blockSize)}`],
    ['pages', String(statistics.pages), 'of maps, stored'],
    ['packs', String(statistics.packs), ''],
    ['log entries', String(statistics.logEntries), ''],
    ['damaged', String(statistics.damagedFrames), 'frames: see holdfast repo verify'],
  ];
  return formatTable(
    [left('WHAT'), right('HOW MUCH'), left('')],
    [...sizes, ...counts.filter(([name, count]) => name !== 'damaged' || count !== '0')],
  );
}
