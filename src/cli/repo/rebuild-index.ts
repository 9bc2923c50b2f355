/** `holdfast repo rebuild-index`: makes the local index anew from the repository. */
import { rebuildIndexOf } from '#backup';
import type { Context } from '../context.ts';
import { formatDuration } from '../output/units.ts';

export async function rebuildIndex(
  context: Context,
  location: string,
  options: { readonly acceptOlderState?: boolean },
): Promise<void> {
  const { clock } = context.surroundings;
  const startMs = clock.monotonicMs();
  const { records } = await context.withRequest(
    { location, access: 'own' },
    async (request) =>
      await rebuildIndexOf({ ...request, acceptsOlderState: options.acceptOlderState === true }),
  );
  const seconds = (clock.monotonicMs() - startMs) / 1000;
  context.terminal.result(
    { records, seconds },
    () => `Rebuilt the index in ${formatDuration(seconds)}: ${records} records.`,
  );
}
