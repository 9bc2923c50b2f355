/** Fills the outputs of a restore: plans, has the threads read and write, finds other copies, flushes. */
import {
  HoldfastError,
  isHoldfastError,
  throwIfCancelled,
  type Clock,
  type ProgressListener,
} from '#base';
import { openTarget, type DiskTarget, type PreparedTarget } from '#disk';
import {
  readRecord,
  RECORD_BYTES,
  RestorePlan,
  type Repository,
  type RestoreTask,
} from '#repository';
import type { PointDisk } from '../point-disks.ts';
import { addDone, newDoneCount, withProgress } from '../progress-meter.ts';
import type { Crew } from '../threads/crew.ts';
import type { FailedPlace, RestoreWorkerCalls, ZeroTask } from './restore-calls.ts';
import { requireSpace, type PlannedImage } from './require-space.ts';
import { TargetWriter } from './target-writer.ts';
import { zeroTasks } from './zero-tasks.ts';

export type Output = { readonly disk: PointDisk; readonly prepared: PreparedTarget };

export type RestoreRun = {
  readonly repository: Repository;
  readonly point: string;
  readonly outputs: readonly Output[];
  /** Where each output lies. */
  readonly disks: readonly { readonly path: string }[];
  /** Into what is there: it needs no room of its own. */
  readonly overwrite: boolean;
  readonly crew: Crew<RestoreWorkerCalls>;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
};

/**
 * Writes the content of all outputs and makes it durable.
 *
 * @returns the bytes written, by disk.
 * @throws as `restoreDisks`.
 */
export async function restoreAll(run: RestoreRun): Promise<number[]> {
  const { repository, outputs, crew, clock, onProgress } = run;
  const { store, keyring } = repository.parts;
  const { blockSize } = keyring;
  const done = newDoneCount();
  const plan = new RestorePlan(repository.parts);
  const targets: DiskTarget[] = [];
  try {
    const opening = crew.each(async (port) => {
      const data = { location: store.location, keyring: keyring.toWorkerData() };
      const specs = outputs.map(({ prepared }) => prepared.spec);
      await port.call('begin', { repository: data, targets: specs, done });
    });
    const [, planned] = await Promise.all([opening, planAll(run, plan)]);
    if (!run.overwrite) await requireSpace(planned);
    for (const { prepared } of outputs) targets.push(await openTarget(prepared.spec, { clock }));
    const writers = targets.map((target) => new TargetWriter(target, blockSize));
    const totalBytes = plan.blockCount * blockSize;
    const phase = `restoring ${outputs.map(({ disk }) => disk.name).join(', ')}`;
    await withProgress(done, { clock, phase, totalBytes, onProgress }, async () => {
      await runPlan(run, plan, async (place) => {
        await restoreOther(run, writers, place);
        addDone(new BigInt64Array(done), blockSize);
      });
      await clearRest(run, targets);
    });
    return await flushAll(run, writers);
  } finally {
    await plan.close();
    for (const target of targets) await target.close();
  }
}

async function planAll(
  { outputs, disks, point, repository }: RestoreRun,
  plan: RestorePlan,
): Promise<readonly PlannedImage[]> {
  const { blockSize } = repository.parts.keyring;
  const planned = disks.map(({ path }) => ({ path, bytes: 0 }));
  for (const [at, { disk, prepared }] of outputs.entries()) {
    try {
      await plan.add(at, disk, (block) => {
        const offset = block * blockSize;
        const length = Math.min(blockSize, disk.sizeBytes - offset);
        prepared.reserve({ offset, length });
        planned[at]!.bytes += length;
      });
      prepared.reserved();
    } catch (error) {
      if (!isHoldfastError(error, 'BlockMissing')) throw error;
      const what = `the map of ${disk.name} of point ${point} cannot be read: ${error.message}`;
      const details = { ...error.details, disk: disk.name, point };
      throw new HoldfastError('BlockMissing', what, { cause: error, details });
    }
  }
  return planned;
}

/** Has every task done; `other` restores the blocks whose copy could not be used. */
async function runPlan(
  { crew, signal }: RestoreRun,
  plan: RestorePlan,
  other: (place: FailedPlace) => Promise<void>,
): Promise<void> {
  const tasks = plan.tasks();
  await crew.work<RestoreTask>({
    next: async () => {
      throwIfCancelled(signal);
      const { value, done } = await tasks.next();
      return done === true ? undefined : value;
    },
    run: async (port, task) => {
      const failed = task.packId === undefined ? placesOf(task) : await port.call('restore', task);
      for (const place of failed) {
        throwIfCancelled(signal);
        await other(place);
      }
    },
  });
}

/** Restores one block from any copy that can be read. @throws {HoldfastError} `BlockMissing`. */
async function restoreOther(
  { repository, outputs, point }: RestoreRun,
  writers: readonly TargetWriter[],
  { id, disk, block }: FailedPlace,
): Promise<void> {
  const { keeper, keyring } = repository.parts;
  const offset = block * keyring.blockSize;
  let content: Buffer;
  try {
    content = Buffer.from(await keeper.reader.read(Buffer.from(id)));
  } catch (error) {
    if (!isHoldfastError(error, 'BlockMissing')) throw error;
    const { name } = outputs[disk]!.disk;
    throw new HoldfastError(
      'BlockMissing',
      `${name} of point ${point} cannot be restored at offset ${offset}: ${error.message}`,
      { cause: error, details: { ...error.details, disk: name, point, offset } },
    );
  }
  await writers[disk]!.write(offset, content);
}

/** Zeros what outputs that existed hold where the point has nothing. */
async function clearRest(
  { crew, outputs, repository, signal }: RestoreRun,
  targets: readonly DiskTarget[],
): Promise<void> {
  for (const [disk, { disk: known }] of outputs.entries()) {
    const target = targets[disk]!;
    if (target.fresh) continue;
    const tasks = zeroTasks({ repository, disk, root: known.root, target });
    await crew.work<ZeroTask>({
      next: async () => {
        throwIfCancelled(signal);
        const { value, done } = await tasks.next();
        return done === true ? undefined : value;
      },
      run: async (port, task) => await port.call('clear', task),
    });
  }
}

async function flushAll({ crew }: RestoreRun, writers: readonly TargetWriter[]): Promise<number[]> {
  for (const writer of writers) await writer.flush();
  const written = writers.map(({ writtenBytes }) => writtenBytes);
  await crew.each(async (port) => {
    for (const [disk, bytes] of (await port.call('flush', undefined)).entries()) {
      written[disk]! += bytes;
    }
  });
  return written;
}

function placesOf({ records }: RestoreTask): FailedPlace[] {
  const bytes = Buffer.from(records.buffer, records.byteOffset, records.length);
  return Array.from({ length: bytes.length / RECORD_BYTES }, (_, at) => readRecord(bytes, at));
}
