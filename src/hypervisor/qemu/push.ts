/**
 * A snapshot that QEMU pushes: its backup jobs copy the disks as they were at the instant into scratch images,
 * and what the guest overwrites meanwhile before it does. Nothing is read before all jobs have ended.
 *
 * ```
 *   jobs run ──► all concluded: dismissed ─► images let go of, opened again to read only ─► their disks
 *      │                                       (so that whoever looks sees a backup that lives)
 *      └─ an error, too little room, the guest's own write refused ─► everything removed, the guest goes on: lost
 * ```
 */
import {
  HoldfastError,
  orCancelled,
  throwIfCancelled,
  type ProgressListener,
  pause,
  toldElsewhere,
} from '#base';
import type { Snapshot, SnapshotDisk } from '../hypervisor.ts';
import { allocatedBytes, heldExtents, reservedBytes } from '../pushed-image.ts';
import type { QmpJob } from '../qmp/qmp-commands.ts';
import type { Backup, BackupDisk } from './backup.ts';
import { startCounting } from './instant.ts';
import { scratchPath } from './scratch.ts';
import { endJobs, removeTraces } from './traces.ts';
import { isShort, writeRefused } from './watch.ts';

const POLL_MS = 100;
const NO_SPACE = /no space left/i;

export type Push = Pick<Snapshot, 'disks' | 'lost'> & {
  /** Ends the following; on return nothing of it is under way. */
  stop(): Promise<void>;
};

/** @throws {HoldfastError} `StoreFull` where the scratch folder cannot hold what will be pushed. */
export async function checkPushRoom({ folder, disks, request }: Backup): Promise<void> {
  let neededBytes = 0;
  for (const disk of disks) neededBytes += await pushedBytes(disk);
  const { freeBytes, sizeBytes } = await folder.space();
  const wanted = neededBytes + reservedBytes(sizeBytes);
  if (freeBytes >= wanted) return;
  const path = request.scratchDir;
  throw new HoldfastError(
    'StoreFull',
    `"${path}" has ${freeBytes} bytes free, and ${wanted} are needed: this QEMU must copy disks with I/O threads ` +
      'before they can be read',
    { details: { path, freeBytes, purpose: 'scratch' } },
  );
}

async function pushedBytes({ disk, base, prepared }: BackupDisk): Promise<number> {
  const { sizeBytes, node, bitmaps } = disk;
  const counted = base === undefined ? undefined : bitmaps.find(({ name }) => name === base)?.count;
  const increment = Math.min(counted ?? 0, sizeBytes);
  if (counted !== undefined && prepared.audit === undefined) return increment;
  const files: string[] = [];
  for (let image = node.image as typeof node.image | undefined; image !== undefined;) {
    files.push(image.filename);
    image = image['backing-image'];
  }
  return increment + (await allocatedBytes({ sizeBytes, files }));
}

/** Follows the jobs that have been started. */
export function followPush(backup: Backup): Push {
  const { qmp, request } = backup;
  const { promise: lost, reject } = Promise.withResolvers<never>();
  void toldElsewhere(lost); // Whoever waits for the disks is told too.
  const stopping = new AbortController();
  const listeners = new Set<ProgressListener>();
  const told: { refused: string | undefined } = { refused: undefined };
  const forget = qmp.onEvent((event) => {
    told.refused ??= writeRefused(event);
  });
  const disks = follow(backup, { listeners, told, signal: stopping.signal });
  const ended = disks
    .then(
      () => {},
      (error: unknown) => {
        if (!stopping.signal.aborted) reject(error);
      },
    )
    .finally(forget);
  return {
    lost,
    disks: async ({ signal, onProgress } = {}) => {
      if (onProgress !== undefined) listeners.add(onProgress);
      try {
        return await orCancelled(disks, signal ?? request.signal);
      } finally {
        if (onProgress !== undefined) listeners.delete(onProgress);
      }
    },
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

type Following = {
  readonly listeners: ReadonlySet<ProgressListener>;
  readonly told: { readonly refused: string | undefined };
  readonly signal: AbortSignal;
};

async function follow(backup: Backup, following: Following): Promise<readonly SnapshotDisk[]> {
  await finish(backup, following);
  const audited = backup.disks.filter(({ prepared }) => prepared.audit !== undefined);
  if (audited.length > 0) {
    throwIfCancelled(following.signal);
    await startCounting(backup, audited);
    await finish({ ...backup, disks: audited }, following);
  }
  const disks: SnapshotDisk[] = [];
  for (const disk of backup.disks) disks.push(await letGo(backup, disk, following.signal));
  return disks;
}

/** Waits until the jobs of the disks have copied all, and dismisses them. */
async function finish(backup: Backup, following: Following): Promise<void> {
  const failure = await untilCopied(backup, following);
  if (failure === undefined) {
    await endJobs(backup);
    return;
  }
  const { freeBytes } = await backup.folder.space();
  // At once: the guest may stand still.
  await removeTraces(backup);
  throw lostTo(failure, { path: backup.request.scratchDir, freeBytes });
}

/** Waits for the end of all jobs. @returns why they cannot come to it; undefined: they have. */
async function untilCopied(
  backup: Backup,
  { listeners, told, signal }: Following,
): Promise<string | undefined> {
  const { qmp, clock, disks } = backup;
  const names = new Set(disks.map((disk) => disk.names.job));
  const phase = `copying ${disks.map(({ disk }) => disk.name).join(', ')}`;
  for (;;) {
    throwIfCancelled(signal);
    const jobs = (await qmp.execute('query-jobs')).filter(({ id }) => names.has(id));
    const failure = failureOf(jobs, names.size) ?? told.refused;
    if (failure !== undefined) return failure;
    const doneBytes = total(jobs, 'current-progress');
    const totalBytes = total(jobs, 'total-progress');
    for (const tell of listeners) tell({ phase, doneBytes, totalBytes });
    if (jobs.every(({ status }) => status === 'concluded')) return undefined;
    if (await isShort(backup)) return 'no space left but the reserve';
    await pause(clock, POLL_MS, signal);
  }
}

function failureOf(jobs: readonly QmpJob[], count: number): string | undefined {
  if (jobs.length < count) return 'its job was ended by somebody else';
  return jobs.find(({ error }) => error !== undefined)?.error;
}

function total(jobs: readonly QmpJob[], of: 'current-progress' | 'total-progress'): number {
  return jobs.reduce((sum, job) => sum + job[of], 0);
}

/** Has the image complete on disk, and QEMU look at it only. */
async function letGo(
  { qmp, folder }: Backup,
  { prepared, names, base }: BackupDisk,
  signal: AbortSignal,
): Promise<SnapshotDisk> {
  const location = scratchPath(folder, names.scratch);
  await qmp.execute('blockdev-del', { 'node-name': names.scratch });
  await qmp.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': names.scratch,
    'read-only': true,
    file: { driver: 'file', filename: location },
  });
  const { name, sizeBytes } = prepared;
  const disk = { name, sizeBytes, location, format: 'qcow2' };
  if (base === undefined) return { ...disk, dirty: undefined };
  if (prepared.audit !== undefined) {
    await qmp.execute('blockdev-del', { 'node-name': names.counted });
    return { ...disk, dirty: await heldExtents(scratchPath(folder, names.counted), signal) };
  }
  return { ...disk, dirty: await heldExtents(location, signal), holdsDirtyOnly: true };
}

function lostTo(
  failure: string,
  { path, freeBytes }: { readonly path: string; readonly freeBytes: number },
): HoldfastError {
  const what = `the snapshot is lost, the VM runs on: ${failure}. "${path}" has ${freeBytes} bytes left`;
  const details = { path, freeBytes };
  if (!NO_SPACE.test(failure)) return new HoldfastError('HypervisorFailed', what, { details });
  return new HoldfastError('StoreFull', what, { details: { ...details, purpose: 'scratch' } });
}
