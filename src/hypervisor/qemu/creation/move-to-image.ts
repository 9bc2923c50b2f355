/**
 * Copies what a running VM's overlay still reads from its backing into the overlay itself: QEMU's block-stream.
 * One that a killed Holdfast began is followed, not begun anew. A job that ends is gone at once, its error told by
 * an event: one that stayed would make QEMU 7.2 end when anybody asks for its nodes (`stream-jobs.ts`).
 *
 * ```
 *   block-stream ─► running ──► gone (its error) ─► no backing is left
 *                      └─ cancelled: gone; the overlay reads on from the point
 * ```
 */
import { HoldfastError, isHoldfastError, throwIfCancelled, type Clock, pause } from '#base';
import type { QmpClient } from '../../qmp/qmp-client.ts';
import type { QmpJob } from '../../qmp/qmp-commands.ts';
import type { VmCreation } from '../../vm-creation.ts';
import { readBlockLayer, type QemuDisk } from '../block-layer.ts';
import { isMoveJob, MOVE_JOB } from '../stream-jobs.ts';

const POLL_MS = 100;
const UNLIMITED = 0;

type Options = Parameters<VmCreation['moveToImage']>[2];
type Moved = { readonly vm: string; readonly disk: string };

/** Nothing to do where the disk has no backing. */
export async function moveToImage(
  { qmp, clock }: { readonly qmp: QmpClient; readonly clock: Clock },
  moved: Moved,
  options: Options,
): Promise<void> {
  const { signal } = options;
  throwIfCancelled(signal);
  const id = `${MOVE_JOB}${moved.disk}`;
  // To their ends, before anything is asked of disks.
  for (const left of (await qmp.execute('query-jobs')).filter(isMoveJob)) {
    const disk = left.id.slice(MOVE_JOB.length);
    await jobOver({ qmp, clock }, { id: left.id, disk }, options);
    throwIfCancelled(signal);
  }
  const backed = await backedDisk(qmp, moved);
  if (backed === undefined) return;
  const failure = await toldFailure(qmp, id, async () => {
    await qmp.execute('block-stream', {
      'job-id': id,
      device: backed.imageNode,
      speed: UNLIMITED,
      'auto-dismiss': true,
    });
    await jobOver({ qmp, clock }, { id, disk: moved.disk }, options);
  });
  if ((await backedDisk(qmp, moved)) === undefined) return;
  throwIfCancelled(signal);
  throw new HoldfastError(
    'HypervisorFailed',
    `moving ${moved.disk} of "${moved.vm}" to its image ended early (${failure}). The VM still reads from the point`,
    { details: { vm: moved.vm, disk: moved.disk } },
  );
}

/** @returns what QEMU says of the job's end while `run` runs. */
async function toldFailure(qmp: QmpClient, id: string, run: () => Promise<void>): Promise<string> {
  let failure = 'its job was cancelled';
  const unsubscribe = qmp.onEvent(({ event, data }) => {
    const { device, error } = data;
    if (event === 'BLOCK_JOB_COMPLETED' && device === id && typeof error === 'string') {
      failure = error;
    }
  });
  try {
    await run();
  } finally {
    unsubscribe();
  }
  return failure;
}

/** Waits until the job is gone. One that an older Holdfast began stays, and is dismissed here. */
async function jobOver(
  { qmp, clock }: { readonly qmp: QmpClient; readonly clock: Clock },
  { id, disk }: { readonly id: string; readonly disk: string },
  { signal, onProgress }: Options,
): Promise<void> {
  for (;;) {
    const isCancelled = signal?.aborted === true;
    if (isCancelled) await cancel(qmp, id);
    const job = await jobOf(qmp, id);
    if (job === undefined) return;
    if (job.status === 'concluded') {
      await qmp.execute('job-dismiss', { id });
      return;
    }
    const total = job['total-progress'];
    onProgress?.({
      phase: `moving ${disk}`,
      doneBytes: job['current-progress'],
      ...(total > 0 ? { totalBytes: total } : {}),
    });
    // Cut short by `signal`, which is seen above; from then on it waits for the job's end.
    await pause(clock, POLL_MS, isCancelled ? undefined : signal);
  }
}

async function cancel(qmp: QmpClient, device: string): Promise<void> {
  try {
    await qmp.execute('block-job-cancel', { device, force: true });
  } catch (error) {
    if (!isHoldfastError(error, 'HypervisorFailed')) throw error; // It has just ended.
  }
}

async function jobOf(qmp: QmpClient, id: string): Promise<QmpJob | undefined> {
  return (await qmp.execute('query-jobs')).find((job) => job.id === id);
}

/** Undefined: it reads from its own image only. */
async function backedDisk(qmp: QmpClient, { vm, disk }: Moved): Promise<QemuDisk | undefined> {
  const layer = await readBlockLayer(qmp);
  const found = layer.disks.find(({ name }) => name === disk);
  if (found === undefined) {
    const known = layer.disks.map(({ name }) => name).join(', ');
    throw new HoldfastError('DiskNotFound', `${vm} has no disk "${disk}", it has ${known}`, {
      details: { vm, disk },
    });
  }
  return layer.childrenOf(found.imageNode).has('backing') ? found : undefined;
}
