/**
 * Writes disks of a recovery point to images or devices.
 *
 * ```
 *   pin ─► outputs made ─► places planned ─► frames read once, in threads ─► durable ─► outputs named
 *                 └───────────────┴── failure, cancel: outputs discarded ──┘
 * ```
 *
 * A block whose copy is gone or damaged is looked up again in the main thread, where the index is; if
 * no copy is left, the restore fails and says which disk and place needs what.
 */
import { HoldfastError, type Clock, type ProgressListener } from '#base';
import { createTarget } from '#disk';
import type { Repository } from '#repository';
import { diskOf, type PointDisk } from '../point-disks.ts';
import { Crew } from '../threads/crew.ts';
import { warmUp } from '../threads/warm-workers.ts';
import { defaultThreads } from '../threads/worker-thread.ts';
import type { RestoreWorkerCalls } from './restore-calls.ts';
import { restoreAll, type Output } from './restore-run.ts';

export type RestoreRequest = {
  readonly repository: Repository;
  readonly point: string;
  readonly disks: readonly {
    /** The disk's name in the point. */
    readonly name: string;
    /** Of the image to make, or of a device. */
    readonly path: string;
    /** QEMU's name of the format, where the extension does not say it. */
    readonly format?: string;
  }[];
  /** Writes over what exists, where it differs. */
  readonly overwrite: boolean;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly threads?: number;
};

export type RestoreResult = {
  readonly point: string;
  readonly disks: readonly {
    readonly name: string;
    /** Bytes, as `written`: what had to be written to the output. */
    readonly size: number;
    readonly written: number;
  }[];
  readonly seconds: number;
};

const WORKER = new URL('./restore.worker.ts', import.meta.url);

/** Starts the threads of a restore that comes soon. */
export function warmUpRestore(): void {
  warmUp(WORKER, defaultThreads());
}

/**
 * Restores the disks, all at once. On return the outputs are whole and durable.
 *
 * @throws {HoldfastError} `PointNotFound`, `DiskNotFound`, `ArgumentInvalid`, `OutputExists` and what else
 *   `createTarget` throws; `BlockMissing` if a block has no readable copy left (details: disk, point,
 *   offset); `Cancelled`; `StoreFull` before anything is written; `DiskWriteFailed`. Then no new output is left; an overwritten one is half so.
 */
export async function restoreDisks(request: RestoreRequest): Promise<RestoreResult> {
  const { repository, point, clock } = request;
  const startedMs = clock.monotonicMs();
  const disks = chosenDisks(request);
  await repository.pin([point]);
  const threads = request.threads ?? defaultThreads();
  const crew = Crew.start<RestoreWorkerCalls>({ url: WORKER, threads, handlers: () => ({}) });
  const stop = (): void => crew.stop();
  request.signal?.addEventListener('abort', stop, { once: true });
  const outputs: Output[] = [];
  try {
    await createOutputs(request, disks, outputs);
    const written = await restoreAll({ ...request, outputs, crew });
    await crew.end();
    for (const { prepared } of outputs) await prepared.finish();
    return {
      point,
      disks: disks.map(({ name, sizeBytes }, disk) => ({
        name,
        size: sizeBytes,
        written: written[disk]!,
      })),
      seconds: (clock.monotonicMs() - startedMs) / 1000,
    };
  } finally {
    request.signal?.removeEventListener('abort', stop);
    await crew.end();
    for (const { prepared } of outputs) await prepared.discard();
  }
}

/** @throws {HoldfastError} `ArgumentInvalid`, `PointNotFound`, `DiskNotFound`. */
function chosenDisks({ repository, point, disks }: RestoreRequest): PointDisk[] {
  if (disks.length === 0) throw new HoldfastError('ArgumentInvalid', 'no disk to restore');
  for (const [at, { name, path }] of disks.entries()) {
    const others = disks.slice(0, at);
    if (others.some((other) => other.name === name || other.path === path)) {
      throw new HoldfastError('ArgumentInvalid', `the disk ${name} or its output is there twice`);
    }
  }
  return disks.map(({ name }) => diskOf(repository, { point, disk: name }));
}

/** Makes the outputs; those made are in `outputs` also if one fails. */
async function createOutputs(
  { disks: wanted, overwrite, clock, signal }: RestoreRequest,
  disks: readonly PointDisk[],
  outputs: Output[],
): Promise<void> {
  for (const [at, disk] of disks.entries()) {
    const { path, format } = wanted[at]!;
    const prepared = await createTarget({
      path,
      sizeBytes: disk.sizeBytes,
      overwrite,
      clock,
      ...(format === undefined ? {} : { format }),
      ...(signal === undefined ? {} : { signal }),
    });
    outputs.push({ disk, prepared });
  }
}
