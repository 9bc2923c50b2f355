/**
 * Watches a snapshot that is being read: whether QEMU is there and its scratch image holds.
 *
 * A full scratch image breaks a `filter`'s snapshot without an event, so a byte of each disk is read now and
 * then. A `job` in that state has stopped the guest: it is ended at once (and before, when space runs out),
 * and the guest goes on.
 */
import { HoldfastError, toldElsewhere } from '#base';
import type { NbdClient } from '#disk';
import type { QmpEvent } from '../qmp/qmp-client.ts';
import type { Backup, Mechanism } from './backup.ts';
import { reservedBytes } from '../pushed-image.ts';
import { isOurs } from './names.ts';
import { removeTraces } from './traces.ts';

const FILTER_POLL_MS = 2000;
const JOB_POLL_MS = 250;
const LOOKED_AT_BYTES = 512;

export type Watch = {
  readonly lost: Promise<never>;
  /** Ends the watching; on return nothing of it is under way. Idempotent. */
  stop(): Promise<void>;
};

export type Watched = {
  readonly backup: Backup;
  readonly mechanism: Mechanism;
  /** One for each disk that is shown by now. */
  readonly clients: readonly NbdClient[];
};

export function watchSnapshot(watched: Watched): Watch {
  const { qmp } = watched.backup;
  const { promise: lost, reject } = Promise.withResolvers<never>();
  void toldElsewhere(lost); // Whoever reads the snapshot looks at it, or not.
  const ended = new AbortController();
  const events = Promise.withResolvers<string>();
  const forget = qmp.onEvent((event) => {
    const complaint = complaintOf(event);
    if (complaint !== undefined) events.resolve(complaint);
  });
  const looking = new AbortController();
  const gone = qmp.closed.then((reason) => {
    looking.abort(); // There is nothing to look at any more.
    return { gone: reason };
  });
  const space = watchSpace(watched, { events: events.promise, ended: looking });
  // Cut short, it has found nothing: why is told by whoever cut it.
  const found = space.then(async (what) => what ?? (ended.signal.aborted ? undefined : await gone));
  const watching = Promise.race([gone, found])
    .then(async (found) => {
      if (found === undefined || ended.signal.aborted) return;
      if ('gone' in found) reject(found.gone);
      else reject(await giveUp(watched, found.why));
    })
    .catch(reject);
  return {
    lost,
    stop: async () => {
      ended.abort();
      looking.abort();
      forget();
      await watching;
    },
  };
}

function complaintOf(event: QmpEvent): string | undefined {
  if (event.event !== 'BLOCK_JOB_ERROR' || !isOfScratch(event)) return writeRefused(event);
  return `its job failed (${String(event.data['operation'])})`;
}

/** Why the guest's own write failed: its old data could not be saved. */
export function writeRefused(event: QmpEvent): string | undefined {
  if (event.event !== 'BLOCK_IO_ERROR') return undefined;
  const { nospace, reason } = event.data;
  return isOfScratch(event) || nospace === true ? String(reason) : undefined;
}

function isOfScratch({ data }: QmpEvent): boolean {
  return [data['node-name'], data['device']].some(
    (name) => typeof name === 'string' && isOurs(name),
  );
}

async function watchSpace(
  { backup, mechanism, clients }: Watched,
  { events, ended }: { readonly events: Promise<string>; readonly ended: AbortController },
): Promise<{ readonly why: string } | undefined> {
  const isJob = mechanism === 'job';
  const pause = isJob ? JOB_POLL_MS : FILTER_POLL_MS;
  const told = events.then((why) => (isJob ? { why } : undefined));
  for (;;) {
    const slept = backup.clock.sleep(pause, ended.signal).then(
      () => 'on',
      () => undefined, // Our own abort: the watching ends.
    );
    const found = await (isJob ? Promise.race([slept, told]) : slept);
    if (found === undefined || ended.signal.aborted) return undefined;
    if (typeof found === 'object') return found;
    if (isJob && (await isShort(backup))) return { why: 'its scratch folder has little room left' };
    const failure = isJob ? undefined : await firstFailure(clients);
    if (failure !== undefined && !ended.signal.aborted) return { why: failure };
  }
}

/** Whether a job must be given up. */
export async function isShort({ folder }: Backup): Promise<boolean> {
  const { freeBytes, sizeBytes } = await folder.space();
  return freeBytes < reservedBytes(sizeBytes);
}

async function firstFailure(clients: readonly NbdClient[]): Promise<string | undefined> {
  const piece = Buffer.alloc(LOOKED_AT_BYTES);
  const answers = await Promise.allSettled(clients.map((client) => client.read(0, piece)));
  const failed = answers.find((answer) => answer.status === 'rejected');
  return failed === undefined ? undefined : (failed.reason as Error).message;
}

async function giveUp({ backup, mechanism }: Watched, why: string): Promise<HoldfastError> {
  const { freeBytes } = await backup.folder.space();
  if (mechanism === 'job') await removeTraces(backup);
  const path = backup.request.scratchDir;
  return new HoldfastError(
    'HypervisorFailed',
    `the snapshot is lost, the VM runs on: ${why}. "${path}" has ${freeBytes} bytes left; ` +
      'scratch images need as much as the guest overwrites during a backup',
    { details: { path, freeBytes } },
  );
}
