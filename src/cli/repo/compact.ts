/** `holdfast repo compact`: deletes what no point needs and gives its space back. */
import { compactRepository, repositoryStatistics, type CompactResult } from '#backup';
import type { Context } from '../context.ts';
import { formatBytes, formatCount, formatDuration } from '../output/units.ts';

export async function compact(
  context: Context,
  location: string,
  options: { readonly deleteUnknown?: boolean },
): Promise<void> {
  const { clock } = context.surroundings;
  const { signal } = context;
  const { onProgress } = context.terminal;
  const startMs = clock.monotonicMs();
  const target = { location, access: 'own', freesSpace: true } as const;
  const done = await context.withRepository(target, async ({ parts }) => {
    const result = await compactRepository(parts, {
      signal,
      deletesUnknown: options.deleteUnknown === true,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    return { ...result, deadBytes: repositoryStatistics(parts).deadBytes };
  });
  const seconds = (clock.monotonicMs() - startMs) / 1000;
  context.terminal.result({ ...done, seconds }, () => describe(done, seconds));
}

function describe(done: CompactResult & { readonly deadBytes: number }, seconds: number): string {
  const lines = [
    `Compacted in ${formatDuration(seconds)}: ${formatCount(done.packsDeleted, 'pack')} deleted, ` +
      `${formatBytes(done.movedBytes)} moved, ${formatBytes(done.freedBytes)} freed.`,
  ];
  if (done.orphansDeleted > 0) {
    lines.push(`${formatCount(done.orphansDeleted, 'object')} left by interrupted work deleted.`);
  }
  if (done.unknownObjects > 0) {
    lines.push(
      `${formatCount(done.unknownObjects, 'object')} of backups that the log does not know are kept: its end may be ` +
        'lost. Put it back from a copy of the repository, or give them up: compact --delete-unknown',
    );
  }
  if (done.waitsFor.length > 0) {
    lines.push(
      `${formatCount(done.waitsFor.length, 'backup')} still running: the rest can be freed when they have ended.`,
    );
  }
  if (done.deadBytes > 0 && done.waitsFor.length === 0) {
    lines.push(
      `${formatBytes(done.deadBytes)} of dead data stay: too little of each pack to be worth moving the rest.`,
    );
  }
  if (done.damagedPacks.length > 0) {
    lines.push(
      `${formatCount(done.damagedPacks.length, 'pack')} could not be read whole: run holdfast repo verify.`,
    );
  }
  return lines.join('\n');
}
