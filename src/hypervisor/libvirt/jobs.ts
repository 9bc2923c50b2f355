/** The jobs of a domain. libvirt runs one at a time: a backup, a migration, a save, a snapshot; and block jobs of disks. */
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import { readRunningBackup, type RunningBackup } from './backup-xml.ts';
import {
  folderOfImage,
  folderOfSocket,
  isBackupAlive,
  removeDeadFolders,
} from './backup-folder.ts';
import type { Domain } from './domain.ts';
import type { Virsh } from './virsh.ts';

const POLL_MS = 20;
const END_TIMEOUT_MS = 60_000;

/** The backup that runs on the domain, whoever began it. */
export async function runningBackup(
  virsh: Virsh,
  uuid: string,
): Promise<RunningBackup | undefined> {
  try {
    return readRunningBackup(await virsh.run(['backup-dumpxml', uuid]));
  } catch (error) {
    if (isNoBackup(error)) return undefined;
    throw error;
  }
}

/**
 * Ends the backup job and waits until QEMU is done with it. Nothing to do where there is none, or no VM.
 *
 * @throws {HoldfastError} `HypervisorFailed` if it does not end.
 */
export async function endBackup(
  { virsh, clock }: { readonly virsh: Virsh; readonly clock: Clock },
  uuid: string,
): Promise<void> {
  const giveUpMs = clock.monotonicMs() + END_TIMEOUT_MS;
  for (;;) {
    if ((await runningBackup(virsh, uuid)) === undefined) return;
    if (clock.monotonicMs() > giveUpMs) break;
    try {
      await virsh.run(['domjobabort', uuid]);
    } catch (error) {
      if (!isNoBackup(error) && !isEnding(error)) throw error;
    }
    await clock.sleep(POLL_MS);
  }
  throw new HoldfastError(
    'HypervisorFailed',
    `the backup job of VM ${uuid} was aborted and does not end: virsh domjobinfo ${uuid}`,
    { details: { vm: uuid } },
  );
}

/** After a backup job has ended: lets a guest run on that QEMU has paused, as on a full scratch file system. */
export async function resumeAfterIoError(virsh: Virsh, uuid: string): Promise<boolean> {
  const state = await virsh.run(['domstate', uuid, '--reason']);
  if (!/paused \(I\/O error\)/.test(state)) return false;
  await virsh.run(['resume', uuid]);
  return true;
}

/**
 * Ends what a backup of ours left that died, and resumes a guest that it stopped; another's is left alone.
 *
 * @throws {HoldfastError} `VmBusy`: naming the job that runs on the domain or on one of its disks.
 */
export async function claimDomain(
  parts: { readonly virsh: Virsh; readonly clock: Clock; readonly warn: (message: string) => void },
  domain: Domain,
): Promise<void> {
  const { virsh } = parts;
  const { uuid, vm } = domain;
  const backup = await runningBackup(virsh, uuid);
  if (backup !== undefined) {
    const { socketPath, scratchPaths } = backup;
    // A job in push mode has no socket.
    const folder =
      socketPath === undefined ? folderOfImage(scratchPaths[0] ?? '') : folderOfSocket(socketPath);
    if (folder === undefined) throw busy(vm.name, 'a backup job of another product');
    if (await isBackupAlive(folder)) throw busy(vm.name, 'another backup by Holdfast');
    await endBackup(parts, uuid);
    await removeDeadFolders([folder, ...scratchPaths.map(folderOfImage)]);
    parts.warn(`ended the backup job of "${vm.name}" that a killed backup left`);
    if (await resumeAfterIoError(virsh, uuid)) {
      parts.warn(
        `"${vm.name}" was paused by an I/O error, as when a backup's scratch file system is full: the backup job has ended, and the VM was resumed`,
      );
    }
  }
  const job = jobOf(await virsh.run(['domjobinfo', uuid]));
  if (job !== undefined) throw busy(vm.name, `a job (${job})`);
  for (const disk of domain.facts.disks) {
    // A device of the host, passed through: QEMU has no block jobs on it.
    if (disk.source.kind === 'other') continue;
    const blockJob = (await blockJobOf(virsh, { uuid, disk: disk.name }))?.type;
    if (blockJob !== undefined) throw busy(vm.name, `a block job (${blockJob}) on ${disk.name}`);
  }
}

function busy(name: string, what: string): HoldfastError {
  return new HoldfastError('VmBusy', `"${name}" is busy with ${what}: wait until it has ended`, {
    details: { vm: name },
  });
}

/** The operation, for example `Outgoing migration`; undefined: none. */
export function jobOf(output: string): string | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:\\s*(.+?)\\s*$`, 'm').exec(output)?.[1];
  const type = field('Job type');
  if (type === undefined || type === 'None') return undefined;
  return field('Operation') ?? type;
}

export type BlockJob = { readonly type: string; readonly done: number; readonly total: number };

/** Undefined: none runs on the disk. */
export async function blockJobOf(
  virsh: Virsh,
  { uuid, disk }: { readonly uuid: string; readonly disk: string },
): Promise<BlockJob | undefined> {
  const output = await virsh.run(['blockjob', uuid, disk, '--raw']);
  const field = (name: string): string | undefined =>
    new RegExp(`^\\s*${name}=(.+?)\\s*$`, 'm').exec(output)?.[1];
  const type = field('type');
  if (type === undefined) return undefined;
  return { type, done: Number(field('cur') ?? 0), total: Number(field('end') ?? 0) };
}

function isNoBackup(error: unknown): boolean {
  if (!isHoldfastError(error)) return false;
  return (
    error.code === 'VmNotFound' ||
    /no domain backup job present|no job is active|domain is not running/.test(error.message)
  );
}

/** Asked twice: it is being cancelled already. */
function isEnding(error: unknown): boolean {
  return isHoldfastError(error, 'HypervisorFailed') && /cancel|abort/i.test(error.message);
}
