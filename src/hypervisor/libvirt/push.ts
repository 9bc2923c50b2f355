/**
 * A snapshot that libvirt pushes: its backup job has QEMU copy the disks as they were at the instant into images
 * in the scratch folder, which are read when the job has ended by itself.
 *
 * ```
 *   job runs ──► gone, its statistics say success ──► the images' disks
 *      └─ failed, aborted, VM gone, too little room: ended, a guest that QEMU paused is resumed ──► lost
 * ```
 */
import { statfs } from 'node:fs/promises';
import {
  HoldfastError,
  isHoldfastError,
  orCancelled,
  throwIfCancelled,
  type Clock,
  type ProgressListener,
  pause,
  toldElsewhere,
} from '#base';
import type { PreparedDisk, Snapshot, SnapshotDisk } from '../hypervisor.ts';
import { allocatedBytes, heldExtents, reservedBytes } from '../pushed-image.ts';
import type { VmDisk } from '../vm.ts';
import { readImageFacts } from './image-facts.ts';
import { blockJobOf, endBackup, resumeAfterIoError, runningBackup } from './jobs.ts';
import { freeBytes, scratchFull, type ScratchNeeds } from './scratch-space.ts';
import type { Virsh } from './virsh.ts';

const POLL_MS = 100;
const BEGIN_POLL_MS = 2;

export type Push = Pick<Snapshot, 'disks' | 'lost'> & {
  /**
   * Ends the following; on return nothing of it is under way.
   *
   * @returns whether the job had ended: what runs on the domain then is not ours.
   */
  stop(): Promise<boolean>;
};

/** What the images will take: by a bitmap what it counted, else what the disk's files take. */
export async function pushNeeds(pushed: {
  readonly scratchDir: string;
  readonly chosen: readonly VmDisk[];
  /** By disk, what the bitmap has counted that is used. */
  readonly dirtyBytes: ReadonlyMap<string, number>;
  /** Of them, disks of which all is copied, and then once more what was counted. */
  readonly audited: ReadonlySet<string>;
  readonly signal: AbortSignal | undefined;
}): Promise<ScratchNeeds> {
  const { scratchDir, chosen, dirtyBytes, audited, signal } = pushed;
  const sizes = await Promise.all(
    chosen.map(async (disk) => {
      const { name, sizeBytes } = disk;
      const counted = dirtyBytes.get(name);
      const increment = Math.min(counted ?? 0, sizeBytes);
      if (counted !== undefined && !audited.has(name)) return increment;
      const { files } = await readImageFacts(disk, signal);
      return increment + (await allocatedBytes({ sizeBytes, files }));
    }),
  );
  const { blocks, bsize } = await statfs(scratchDir);
  const reserveBytes = reservedBytes(blocks * bsize);
  return { neededBytes: sizes.reduce((sum, size) => sum + size, reserveBytes), reserveBytes };
}

/**
 * Waits until QEMU's jobs have taken up their bitmaps: only from then on a write of the guest changes nothing of
 * what they copy. libvirt tells the end of a job as 1 until then.
 */
export async function untilPushBegins(
  { virsh, clock }: Pick<Pushing, 'virsh' | 'clock'>,
  { uuid, disks }: { readonly uuid: string; readonly disks: readonly string[] },
): Promise<void> {
  for (const disk of disks) {
    for (;;) {
      const job = await blockJobOf(virsh, { uuid, disk });
      // None: it had nothing to copy, or failed, as whoever follows it will see.
      if (job === undefined || job.total > 1) break;
      await clock.sleep(BEGIN_POLL_MS);
    }
  }
}

export type Pushing = {
  readonly virsh: Virsh;
  readonly clock: Clock;
  readonly uuid: string;
  readonly vmName: string;
  readonly scratchDir: string;
  readonly needs: ScratchNeeds;
  readonly disks: readonly PreparedDisk[];
  readonly imageOf: (diskName: string) => string;
  /** The job that tells what the bitmaps of audited disks counted, after the one that copies all of them. */
  readonly counting:
    | {
        readonly disks: readonly PreparedDisk[];
        readonly imageOf: (diskName: string) => string;
        readonly begin: () => Promise<void>;
      }
    | undefined;
  readonly signal: AbortSignal | undefined;
};

/** Follows the job that has been begun. */
export function followPush(pushing: Pushing): Push {
  const { promise: lost, reject } = Promise.withResolvers<never>();
  void toldElsewhere(lost); // Whoever waits for the disks is told too.
  const stopping = new AbortController();
  const listeners = new Set<ProgressListener>();
  const state = { isOver: false };
  const disks = follow(pushing, { listeners, state, signal: stopping.signal });
  const ended = disks.then(
    () => {},
    (error: unknown) => {
      if (!stopping.signal.aborted) reject(error);
    },
  );
  return {
    lost,
    disks: async ({ signal, onProgress } = {}) => {
      if (onProgress !== undefined) listeners.add(onProgress);
      try {
        return await orCancelled(disks, signal ?? pushing.signal);
      } finally {
        if (onProgress !== undefined) listeners.delete(onProgress);
      }
    },
    stop: async () => {
      stopping.abort();
      await ended;
      return state.isOver;
    },
  };
}

type Following = {
  readonly listeners: ReadonlySet<ProgressListener>;
  readonly state: { isOver: boolean };
  readonly signal: AbortSignal;
};

async function follow(pushing: Pushing, following: Following): Promise<readonly SnapshotDisk[]> {
  await untilCopied(pushing, following);
  await count(pushing, following);
  const { disks, imageOf, counting } = pushing;
  return await Promise.all(
    disks.map(async ({ name, sizeBytes, tracking, audit }): Promise<SnapshotDisk> => {
      const location = imageOf(name);
      const disk = { name, sizeBytes, location, format: 'qcow2' };
      if (tracking.kind !== 'bitmap') return { ...disk, dirty: undefined };
      if (audit !== undefined) {
        return { ...disk, dirty: await heldExtents(counting!.imageOf(name), following.signal) };
      }
      const dirty = await heldExtents(location, following.signal);
      return { ...disk, dirty, holdsDirtyOnly: true };
    }),
  );
}

/**
 * What a bitmap counted nobody can ask libvirt for: an increment by it tells, in the clusters that it copies. It is
 * taken after the instant, from a bitmap that counts on: so it has all that was counted by then.
 */
async function count(pushing: Pushing, following: Following): Promise<void> {
  const { counting } = pushing;
  if (counting === undefined) return;
  const { disks, imageOf, begin } = counting;
  throwIfCancelled(following.signal);
  following.state.isOver = false;
  await begin();
  await untilCopied({ ...pushing, disks, imageOf }, following);
}

/** @throws {HoldfastError} `StoreFull`, `HypervisorFailed`: the images are of no use. */
async function untilCopied(
  pushing: Pushing,
  { listeners, state, signal }: Following,
): Promise<void> {
  const { virsh, clock, uuid, vmName, disks, needs, scratchDir } = pushing;
  const phase = `copying ${disks.map(({ name }) => name).join(', ')}`;
  for (;;) {
    throwIfCancelled(signal);
    if (!(await isRunning(pushing))) break;
    const bytes = bytesIn(await statistics(virsh, uuid));
    for (const tell of listeners) tell({ phase, ...bytes });
    if ((await freeBytes(scratchDir)) < needs.reserveBytes) {
      await endBackup(pushing, uuid);
      state.isOver = true;
      await resumeAfterIoError(virsh, uuid);
      throw full(scratchDir, vmName);
    }
    await pause(clock, POLL_MS, signal);
  }
  state.isOver = true;
  const complaint = await complaintOf(virsh, uuid);
  // A write of the guest is refused, and QEMU pauses it, where what it overwrites cannot be copied.
  if (complaint !== GONE) await resumeAfterIoError(virsh, uuid);
  if (complaint === undefined) return;
  if (/no space left/i.test(complaint)) throw full(scratchDir, vmName);
  throw new HoldfastError(
    'HypervisorFailed',
    `the disks of "${vmName}" were not copied to their end: ${complaint}`,
    { details: { vm: vmName } },
  );
}

const GONE = 'the VM was shut down or killed';

/** Whether our job runs: it is told by its images. libvirt that does not answer just now takes nothing away. */
async function isRunning({ virsh, uuid, disks, imageOf }: Pushing): Promise<boolean> {
  try {
    const running = await runningBackup(virsh, uuid);
    return running?.scratchPaths.includes(imageOf(disks[0]!.name)) === true;
  } catch (error) {
    if (isHoldfastError(error, 'HypervisorUnavailable') || isHoldfastError(error, 'VmBusy')) {
      return true;
    }
    throw error;
  }
}

/** `name: value`, as libvirt has them of the job that runs, or `--completed`. None without a VM that runs. */
async function statistics(
  virsh: Virsh,
  uuid: string,
  more: readonly string[] = [],
): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const output = await virsh.run(['domjobinfo', uuid, '--rawstats', ...more]);
    return new Map(
      Array.from(output.matchAll(/^(\w+): (.*)$/gm), ([, name, value]) => [name!, value!]),
    );
  } catch (error) {
    if (isHoldfastError(error, 'VmNotFound') || isHoldfastError(error, 'HypervisorFailed')) {
      return undefined;
    }
    throw error;
  }
}

/** Why the job that has ended is no success; undefined: it is one. */
async function complaintOf(virsh: Virsh, uuid: string): Promise<string | undefined> {
  const ended = await statistics(virsh, uuid, ['--completed', '--keep-completed', '--anystats']);
  if (ended === undefined) return GONE;
  if (ended.get('success') === '1') return undefined;
  return ended.get('errmsg') ?? 'somebody aborted the job, or the VM was shut down or killed';
}

function bytesIn(statistics: ReadonlyMap<string, string> | undefined): {
  readonly doneBytes: number;
  readonly totalBytes?: number;
} {
  const total = statistics?.get('disk_total');
  const doneBytes = Number(statistics?.get('disk_processed') ?? '0');
  return total === undefined ? { doneBytes } : { doneBytes, totalBytes: Number(total) };
}

function full(scratchDir: string, vmName: string): HoldfastError {
  return scratchFull(
    scratchDir,
    `is full, and copying the disks of "${vmName}" was ended; the VM runs on`,
  );
}
