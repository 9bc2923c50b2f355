/**
 * A VM of QEMU that stands still from before its snapshot until others have theirs (`PrepareRequest.atRest`). It
 * leaves the mark by which its guard, or whoever looks next, lets it go on (`stand-still.ts`, `traces.ts`).
 *
 * ```
 *   mark, stop ─► the work ─► nobody has resumed it? ─► cont, mark removed
 *                    └─ failure: left as it is, `removeTraces` lets it go on
 * ```
 */
import { HoldfastError } from '#base';
import type { Backup } from './backup.ts';
import { STOPPED_MARK } from './names.ts';

/**
 * One that does not run is only watched.
 *
 * @throws {HoldfastError} what `work` does; `HypervisorFailed` if the VM ran before the end of `work`.
 */
export async function whileAtRest(
  { qmp, request }: Backup,
  work: () => Promise<void>,
): Promise<void> {
  const isRunning = async (): Promise<boolean> => (await qmp.execute('query-status')).running;
  const wasRunning = await isRunning();
  let isMoved = false;
  const forget = qmp.onEvent(({ event }) => {
    isMoved ||= event === 'RESUME';
  });
  try {
    if (wasRunning) {
      await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': STOPPED_MARK });
      await qmp.execute('stop');
    }
    await work();
    if (isMoved || (await isRunning())) {
      throw new HoldfastError(
        'HypervisorFailed',
        `"${request.vm}" was resumed by somebody while its snapshot was taken: it is not of one instant. Run the backup again`,
        { details: { vm: request.vm } },
      );
    }
  } finally {
    forget();
  }
  if (!wasRunning) return;
  await qmp.execute('cont');
  await qmp.execute('blockdev-del', { 'node-name': STOPPED_MARK });
}
