/**
 * The work of a Backup job (R40, M6):
 *
 * ```
 *   machine's queue ─► host's queue ─► Take Snapshot ─► vault's queue ─► Transfer data to vault
 *        ─► point in the repository ─► point and item in documents and catalogue ─► job ends
 * ```
 * The row names the point before anything is made. Run again after a kill, it looks whether that point is there:
 * if so only the records are written, else everything begins anew and what was stored is used.
 *
 * Few snapshots wait for their vault: the hypervisor holds them meanwhile, and a vault that is slow must not take
 * all places of the machine.
 */
import { HoldfastError, isHoldfastError } from '#base';
import { backUpVm, inScratch, newPointId, type VmBackupResult } from '#backup';
import { discoverHost } from '../hosts/discovery.ts';
import { getHost } from '../hosts/hosts.ts';
import { findVmNow } from '../hosts/look-again.ts';
import type { HostVm } from '../hosts/vms.ts';
import { changeItem } from '../items/change-item.ts';
import { requireAllowed } from '../items/item-states.ts';
import { itemById, type Item } from '../items/items.ts';
import type { LastBackup } from '../items/last-backup.ts';
import type { JobFailure } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { recordPoint } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { backupRequestOf } from './backup-request.ts';
import { lookedOnce, whenQuiet } from './quiet-guests.ts';
import { selectedDisks } from './selected-disks.ts';

const SNAPSHOT = 'Take Snapshot';
const TRANSFER = 'Transfer data to vault';
/** Of one vault, beside those in transfer. */
export const SNAPSHOTS_AHEAD = 1;

type Run = {
  readonly parts: ServiceParts;
  readonly run: JobRun;
  readonly item: Item;
};

export function backupWork(parts: ServiceParts): JobWork {
  return {
    tasks: [SNAPSHOT, TRANSFER],
    isCancellable: true,
    run: async (run) => {
      if (!(await isTaken(parts, run))) await takenWhenQuiet(parts, run);
      await record(parts, run);
    },
    isDone: async (run) => {
      if (!(await isTaken(parts, run))) return false;
      await record(parts, run);
      return true;
    },
    failed: async ({ itemId, isUserTriggered }, failure) => {
      await noteBackupFailure(parts, { itemId, isOnDemand: isUserTriggered === 1, failure });
    },
  };
}

/** Whether the point that the row names is in the repository, of whichever try. */
async function isTaken({ repositories }: ServiceParts, { job }: JobRun): Promise<boolean> {
  const { pointId } = job;
  if (pointId === null) return false;
  return await repositories.use(
    job.vaultId,
    async ({ state }) => state.points.get(pointId)?.visible === true,
  );
}

/** A guest that is too busy is waited for without a place in any queue (R44). */
async function takenWhenQuiet(parts: ServiceParts, run: JobRun): Promise<void> {
  await whenQuiet(parts, run, {
    take: async () => await inQueues(parts, run),
    vms: async () => [await vmOf(parts, await itemById(parts.catalogue.read, run.job.itemId!))],
  });
}

async function inQueues(parts: ServiceParts, run: JobRun): Promise<void> {
  const { backupsAtOnce, transfersPerVault } = parts.settings;
  const limit = transfersPerVault + SNAPSHOTS_AHEAD;
  const vault = { name: `backups to ${run.job.vaultId}`, limit };
  const machine = { name: 'backups', limit: backupsAtOnce };
  // One after the other: whoever waits for his vault must not hold a place of the machine.
  await run.holding([vault], async () =>
    run.holding([machine], async () => {
      // As it is now: it may have been stopped while the job waited.
      const item = await itemById(parts.catalogue.read, run.job.itemId!);
      requireAllowed('backUp', item);
      await takePoint({ parts, run, item });
    }),
  );
}

async function takePoint(of: Run): Promise<void> {
  const { parts, run, item } = of;
  const vm = await vmOf(parts, item);
  const host = await getHost(parts.catalogue.read, vm.hostKey);
  const limit = host.snapshotsAtOnce ?? parts.settings.snapshotsPerHost;
  try {
    await parts.repositories.use(item.vaultId, async (repository) => {
      await run.setPoint(newPointId(repository.parts));
      await inScratch(parts.dataFolder.scratch, async (scratchDir) => {
        const snapshotTaken = Promise.withResolvers<void>();
        let whole: Promise<VmBackupResult> | undefined;
        // The host's place is given up when the snapshot has been taken: from then on the guest runs as ever.
        await run.holding([{ name: `snapshots of ${vm.hostKey}`, limit }], async () => {
          const backup = { repository, vm, scratchDir, snapshotTaken: snapshotTaken.resolve };
          whole = backUpIn(of, backup);
          await Promise.race([whole, snapshotTaken.promise]);
        });
        await told(run, await whole!);
        tellDisks(run, vm, item);
      });
    });
  } catch (error) {
    if (!isHoldfastError(error, 'VmNotFound')) throw error;
    await discoverHost(parts, vm.hostKey);
    throw vmGone(item, error);
  }
}

type Backup = {
  readonly repository: OpenRepository;
  readonly vm: HostVm;
  readonly scratchDir: string;
  readonly snapshotTaken: () => void;
};

async function backUpIn(
  { parts, run, item }: Run,
  { repository, vm, scratchDir, snapshotTaken }: Backup,
): Promise<VmBackupResult> {
  const { clock, settings } = parts;
  const steps: { readonly message: string; readonly code?: string }[] = [];
  const now = (): { readonly startedAt: number } => ({ startedAt: clock.nowMs() });
  await run.task({ name: SNAPSHOT, status: 'InProgress', ...now() });
  return await parts.hosts.use(vm.hostKey, async (hypervisor) =>
    backUpVm({
      repository,
      hypervisor,
      vm: vm.name,
      item: item.repositoryItem,
      newPoint: run.job.pointId!,
      disks: selectedDisks(vm, item),
      scratchDir,
      quiesces: true,
      ...lookedOnce(settings),
      clock,
      signal: run.signal,
      onProgress: run.progress,
      warn: (message) => run.warn(message),
      onStep: ({ name, message, code }) => {
        steps.push({ message: `${name}: ${message}`, ...(code === undefined ? {} : { code }) });
      },
      inTurn: async (transfer) => {
        await run.task({
          name: SNAPSHOT,
          status: 'Completed',
          endedAt: clock.nowMs(),
          details: steps,
        });
        snapshotTaken();
        const slot = { name: `transfers to ${item.vaultId}`, limit: settings.transfersPerVault };
        return await run.holding([slot], async () => {
          await run.task({ name: TRANSFER, status: 'InProgress', ...now() });
          return await transfer();
        });
      },
    }),
  );
}

/** @throws {HoldfastError} `UserErrorVmNotFoundV2` (R55) for one that its host does not have any more. */
export async function vmOf(parts: ServiceParts, item: Item): Promise<HostVm> {
  const vm = await findVmNow(parts, { group: item.vmGroup, name: item.vmName });
  if (vm === undefined) throw vmGone(item);
  return vm;
}

/** R55 */
export function vmGone(item: Item, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'UserErrorVmNotFoundV2',
    `The virtual machine '${item.vmName}' of '${item.vmGroup}' doesn't exist (VMNotFoundV2): restore it under its ` +
      'name, or stop its protection.',
    { cause },
  );
}

/** Of all disks of a job. */
export function tellSizes(
  run: JobRun,
  disks: readonly { readonly stored: number; readonly read: number }[],
): void {
  const told = (of: 'stored' | 'read'): string =>
    `${Math.ceil(disks.reduce((sum, disk) => sum + disk[of], 0) / 1024 ** 2)} MB`;
  run.property('Backup Size', told('stored'));
  run.property('Data Read', told('read'));
}

/** R43 */
function tellDisks(run: JobRun, vm: HostVm, item: Item): void {
  const chosen = selectedDisks(vm, item);
  const others = vm.facts.disks.filter(({ name }) => !chosen.includes(name));
  run.property('Backed-up disks', chosen.join(', '));
  run.property('Excluded disks', others.map(({ name }) => name).join(', '));
}

async function told(run: JobRun, result: VmBackupResult): Promise<void> {
  tellSizes(run, result.disks);
  run.property('Consistency', result.consistency);
  if (result.frozenMs !== undefined) run.property('Frozen', `${Math.round(result.frozenMs)} ms`);
  for (const { name, tracking, reason } of result.disks) {
    run.property(`Changes of ${name}`, reason === undefined ? tracking : `${tracking}: ${reason}`);
  }
  await run.task({ name: TRANSFER, status: 'InProgress' });
}

/** In documents and catalogue; done again it changes nothing. */
async function record(parts: ServiceParts, run: JobRun): Promise<void> {
  const asked = backupRequestOf(run.job);
  const item = await itemById(parts.catalogue.read, run.job.itemId!);
  const point = run.job.pointId!;
  const keptUntil = await recordPoint(parts, { ...asked, item, point, jobId: run.job.id });
  if (keptUntil !== undefined) {
    run.property('Recovery Point Expiry Time in UTC', new Date(keptUntil).toISOString());
  }
  const endedAt = parts.clock.nowMs();
  for (const name of [SNAPSHOT, TRANSFER]) await run.task({ name, status: 'Completed', endedAt });
}

/** With the item. */
export async function noteBackupFailure(
  parts: ServiceParts,
  of: {
    readonly itemId: string | null;
    readonly isOnDemand: boolean;
    readonly failure: JobFailure;
  },
): Promise<void> {
  const { itemId, isOnDemand, failure } = of;
  const query = parts.catalogue.read.selectFrom('items').select(['id', 'vaultId']);
  const known = await query.where('id', '=', itemId).executeTakeFirst();
  if (known === undefined) return; // Deleted meanwhile.
  await changeItem(parts, known, async ({ lastBackup }) => {
    const { pointAt, sizeBytes } = lastBackup ?? {};
    const last: LastBackup = {
      status: 'Failed',
      endedAt: parts.clock.nowMs(),
      isOnDemand,
      failure,
      ...(pointAt === undefined ? {} : { pointAt }),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    return { item: { lastBackup: JSON.stringify(last) }, also: async () => undefined };
  });
}
