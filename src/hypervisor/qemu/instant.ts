/**
 * The instant of a snapshot, and its disks as NBD exports afterwards. Each way keeps the order in which no
 * write is in neither bitmap: the new one counts before the old one ends; a write between is in both.
 *
 * ```
 *   filter: add N ─► make filters ─► [stop] ─► qom-set drive=filter, each ─► [cont] ─► disable A ─► access nodes
 *   job:    one transaction: backup job, add N, disable A, for all disks
 *   push:   [stop] ─► one transaction: add N, for all disks; backup job by A, for all ─► all jobs run ─► [cont]
 * ```
 *
 * The instant of several disks is one because the VM stands still for the moment in which they get their
 * filters; of one disk QEMU drains by itself. For a push it stands still until its jobs run. Whoever dies there
 * leaves a mark: the process of `stand-still.ts` lets the VM go on at once, else the next backup does.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { Backup, BackupDisk, Mechanism } from './backup.ts';
import type { QmpAction } from '../qmp/qmp-commands.ts';
import { beginActions, freezeActions, transact } from './bitmaps.ts';
import { SERVING_MARK, STOPPED_MARK } from './names.ts';

/** How long a write of the guest may wait for its old data to be saved; then the snapshot is lost. */
const CBW_TIMEOUT_S = 30;

/**
 * Takes the snapshot; the scratch nodes are there. On an error whatever was done is left, for `traces.ts` and
 * `restoreOldBitmaps`.
 */
export async function takeInstant(backup: Backup, mechanism: Mechanism): Promise<void> {
  if (mechanism === 'push') await startPush(backup);
  else if (mechanism === 'job') await startJobs(backup);
  else await insertFilters(backup);
}

/**
 * Starts QEMU's NBD server on the backup's own socket.
 *
 * @throws {HoldfastError} `VmBusy` if it runs already: there is one in a QEMU.
 */
export async function startServer({ qmp, folder }: Backup): Promise<void> {
  const addr = { type: 'unix', data: { path: folder.socketPath } } as const;
  await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': SERVING_MARK });
  try {
    await qmp.execute('nbd-server-start', { addr });
  } catch (error) {
    const text = isHoldfastError(error, 'HypervisorFailed') ? String(error.details['text']) : '';
    if (!text.includes('already running')) throw error;
    await qmp.execute('blockdev-del', { 'node-name': SERVING_MARK });
    throw new HoldfastError(
      'VmBusy',
      "another program uses QEMU's NBD server: end that (QMP nbd-server-stop), then run again",
      { cause: error },
    );
  }
}

/** What the filter saved of a disk is exported under this name. */
export const savedName = (disk: string): string => `${disk}.saved`;

/** Exports every disk under its name. */
export async function exportDisks({ qmp, disks }: Backup, mechanism: Mechanism): Promise<void> {
  for (const { disk, names, base } of disks) {
    const bitmap = mechanism === 'job' ? base : { node: disk.imageNode, name: base ?? '' };
    await qmp.execute('block-export-add', {
      type: 'nbd',
      id: names.export,
      'node-name': mechanism === 'job' ? names.scratch : names.access,
      name: disk.name,
      writable: false,
      bitmaps: base === undefined || bitmap === undefined ? [] : [bitmap],
    });
    if (mechanism === 'job') continue;
    await qmp.execute('block-export-add', {
      type: 'nbd',
      id: names.savedExport,
      'node-name': names.scratch,
      name: savedName(disk.name),
      writable: false,
      bitmaps: [],
    });
  }
}

async function insertFilters(backup: Backup): Promise<void> {
  const { qmp, disks } = backup;
  await transact(
    qmp,
    disks.flatMap((disk) => beginActions(backup, disk)),
  );
  for (const { disk, names } of disks) {
    await qmp.execute('blockdev-add', {
      driver: 'copy-before-write',
      'node-name': names.filter,
      file: disk.rootNode,
      target: names.scratch,
      'on-cbw-error': 'break-snapshot',
      'cbw-timeout': CBW_TIMEOUT_S,
    });
  }
  const { running } = await qmp.execute('query-status');
  await (running && disks.length > 1 ? switchStandingStill(backup) : switchDrives(backup));
  await transact(qmp, disks.flatMap(freezeActions));
  for (const { names } of disks) {
    await qmp.execute('blockdev-add', {
      driver: 'snapshot-access',
      'node-name': names.access,
      file: names.filter,
    });
  }
}

async function switchDrives({ qmp, disks }: Backup): Promise<void> {
  await inOneGo(disks.map((disk) => switchDrive(qmp, disk)));
}

function switchDrive(qmp: Backup['qmp'], { disk, names }: BackupDisk): Promise<unknown> {
  return qmp.execute('qom-set', { path: disk.qomPath, property: 'drive', value: names.filter });
}

async function switchStandingStill(backup: Backup): Promise<void> {
  const { qmp, disks } = backup;
  await standingStill(backup, () => disks.map((disk) => switchDrive(qmp, disk)));
}

/** All commands are sent before the first answer: the VM stands still for as long as QEMU needs for them. */
async function standingStill({ qmp }: Backup, send: () => Promise<unknown>[]): Promise<void> {
  await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': STOPPED_MARK });
  await inOneGo([qmp.execute('stop'), ...send(), qmp.execute('cont')]);
  await qmp.execute('blockdev-del', { 'node-name': STOPPED_MARK });
}

/** Waits for all, then throws the first error. */
async function inOneGo(commands: readonly Promise<unknown>[]): Promise<void> {
  for (const answer of await Promise.allSettled(commands)) {
    if (answer.status === 'rejected') throw answer.reason;
  }
}

async function startJobs(backup: Backup): Promise<void> {
  await transact(
    backup.qmp,
    backup.disks.flatMap((disk) => [
      {
        type: 'blockdev-backup' as const,
        data: {
          'job-id': disk.names.job,
          device: disk.disk.rootNode,
          target: disk.names.scratch,
          sync: 'none' as const,
          'auto-dismiss': true,
        },
      },
      ...beginActions(backup, disk),
      ...freezeActions(disk),
    ]),
  );
}

/**
 * A job takes what A counts, and its instant, while QEMU holds the disk's requests back. The guest's own thread
 * may write between the actions before: such a write is in N, in A and in what is pushed. But what a job has to copy
 * by A it lists only when it begins to run, and then once more what a guest's write made it save in between: until
 * then the VM stands still.
 */
async function startPush(backup: Backup): Promise<void> {
  const { qmp, disks } = backup;
  const jobs = disks.map((disk) => {
    const base = disk.prepared.audit === undefined ? disk.base : undefined;
    return pushJob(disk, { target: disk.names.scratch, base });
  });
  const actions = [...disks.flatMap((disk) => beginActions(backup, disk)), ...jobs];
  const send = (): Promise<unknown>[] => [
    transact(qmp, actions),
    // QEMU drains for each, and so waits until each job pauses: first perhaps before it begins, then at work.
    qmp.execute('transaction', { actions: [] }),
    qmp.execute('transaction', { actions: [] }),
  ];
  const { running } = await qmp.execute('query-status');
  await (running ? standingStill(backup, send) : inOneGo(send()));
}

/**
 * What the bitmaps of audited disks counted is what an increment by them copies. They count on: so it has all
 * that was counted at the instant.
 */
export async function startCounting(backup: Backup, audited: readonly BackupDisk[]): Promise<void> {
  const jobs = audited.map((disk) =>
    pushJob(disk, { target: disk.names.counted, base: disk.base }),
  );
  await transact(backup.qmp, jobs);
}

function pushJob(
  { disk, names }: BackupDisk,
  { target, base }: { readonly target: string; readonly base: string | undefined },
): QmpAction {
  return {
    type: 'blockdev-backup',
    data: {
      'job-id': names.job,
      // The bitmaps' own node, below filters of the VM.
      device: disk.imageNode,
      target,
      'auto-dismiss': false,
      'on-source-error': 'report',
      'on-target-error': 'report',
      ...(base === undefined
        ? { sync: 'full' }
        : { sync: 'bitmap', bitmap: base, 'bitmap-mode': 'never' }),
    },
  };
}
