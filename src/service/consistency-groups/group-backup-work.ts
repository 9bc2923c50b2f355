/**
 * The work of a GroupBackup job: all VMs of a consistency group at one instant, all of their points or none.
 *
 * ```
 *   vault's queue ─► machine's queue ─► places at every host ─► Take Snapshot ─► vault's queue
 *        ─► Transfer data to vault, VM after VM ─► all points in the repository, by one entry of its log
 *        ─► each point and item in documents and catalogue ─► job ends
 * ```
 * The row names the point of the first VM before anything is made; once that is there, it names the others. Run again
 * after a kill, the job looks for it: if it is there only the records are written, else everything begins anew.
 */
import {
  backUpVms,
  describeVmPoint,
  inScratch,
  newPointId,
  type GroupBackupResult,
  type PointGroup,
} from '#backup';
import { isHoldfastError, type HoldfastError } from '#base';
import { groupBackupOf } from '../backing-up/backup-request.ts';
import {
  noteBackupFailure,
  SNAPSHOTS_AHEAD,
  tellSizes,
  vmGone,
  vmOf,
} from '../backing-up/backup-work.ts';
import { lookedOnce, whenQuiet, withHosts } from '../backing-up/quiet-guests.ts';
import { selectedDisks } from '../backing-up/selected-disks.ts';
import type { Row } from '../catalogue/schema.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { findVm, type HostVm } from '../hosts/vms.ts';
import { requireAllowed, whyNot } from '../items/item-states.ts';
import { findItemById, type Item } from '../items/items.ts';
import type { JobFailure } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { recordPoint } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { placesOf, requireSome } from './consistency-groups.ts';

const SNAPSHOT = 'Take Snapshot';
const transferOf = (vm: string): string => `Transfer data to vault: ${vm}`;

type Member = { readonly item: Item; readonly vm: HostVm };

export function groupBackupWork(parts: ServiceParts): JobWork {
  return {
    tasks: [SNAPSHOT],
    isCancellable: true,
    run: async (run) => {
      let taken = await takenGroup(parts, run);
      if (taken === undefined) {
        // Guests that are too busy are waited for without a place in any queue (R44).
        await whenQuiet(parts, run, {
          take: async () => await inQueues(parts, run),
          vms: async () => (await membersNow(parts, run)).map(({ vm }) => vm),
        });
        taken = await takenGroup(parts, run);
      }
      await record(parts, run, taken!);
    },
    isDone: async (run) => {
      const taken = await takenGroup(parts, run);
      if (taken === undefined) return false;
      await record(parts, run, taken);
      return true;
    },
    failed: async (job, failure) => await noteFailures(parts, job, failure),
  };
}

/** The points that the row stands for, of whichever try; undefined: none is in the repository. */
async function takenGroup(
  { repositories }: ServiceParts,
  { job }: JobRun,
): Promise<PointGroup | undefined> {
  const { pointId } = job;
  if (pointId === null) return undefined;
  return await repositories.use(job.vaultId, async (repository) => {
    if (repository.state.points.get(pointId)?.visible !== true) return undefined;
    return (await describeVmPoint(repository, pointId)).group;
  });
}

async function inQueues(parts: ServiceParts, run: JobRun): Promise<void> {
  const { backupsAtOnce, transfersPerVault } = parts.settings;
  const limit = transfersPerVault + SNAPSHOTS_AHEAD;
  const vault = { name: `backups to ${run.job.vaultId}`, limit };
  const machine = { name: 'backups', limit: backupsAtOnce };
  await run.holding([vault], async () =>
    run.holding([machine], async () => {
      const members = await membersNow(parts, run);
      try {
        await takePoints(parts, run, members);
      } catch (error) {
        if (!isHoldfastError(error, 'VmNotFound')) throw error;
        throw await goneMember(parts, members, error);
      }
    }),
  );
}

/**
 * As they are now: a member may have been stopped while the job waited. Whoever asks by hand is refused then; a scheduled
 * run leaves out what nobody wants backed up, and the others have their points.
 */
async function membersNow(parts: ServiceParts, run: JobRun): Promise<readonly Member[]> {
  const { members: ids, backup } = groupBackupOf(run.job);
  const isScheduled = backup.origin === 'scheduled';
  const members: Member[] = [];
  for (const id of ids) {
    const item = await findItemById(parts.catalogue.read, id);
    if (item === undefined) continue; // It is out of the group as well.
    const why = whyNot('backUp', item);
    if (why === undefined) members.push({ item, vm: await vmOf(parts, item) });
    else if (isScheduled) run.warn(`'${item.vmGroup}/${item.vmName}' is left out: ${why}`);
    else requireAllowed('backUp', item);
  }
  requireSome(members, { isScheduled });
  return members;
}

/** Its host is listed anew, as for a VM alone; the error says which one it is. */
async function goneMember(
  parts: ServiceParts,
  members: readonly Member[],
  error: HoldfastError,
): Promise<HoldfastError> {
  for (const host of new Set(members.map(({ vm }) => vm.hostKey))) await discoverHost(parts, host);
  for (const { item } of members) {
    const vm = await findVm(parts.catalogue.read, { group: item.vmGroup, name: item.vmName });
    if (vm === undefined) return vmGone(item, error);
  }
  return error; // It is back.
}

async function takePoints(
  parts: ServiceParts,
  run: JobRun,
  members: readonly Member[],
): Promise<void> {
  const places = await placesOf(
    parts,
    members.map(({ item }) => item),
  );
  const slots = Array.from(places, ([host, taken]) => ({ name: `snapshots of ${host}`, ...taken }));
  await parts.repositories.use(run.job.vaultId, async (repository) => {
    const points = members.map(() => newPointId(repository.parts));
    await run.setPoint(points[0]!);
    await inScratch(parts.dataFolder.scratch, async (scratchDir) => {
      const snapshotsTaken = Promise.withResolvers<void>();
      let whole: Promise<GroupBackupResult> | undefined;
      // The hosts' places are given up when the instant is over: from then on the guests run as ever.
      await run.holding(slots, async () => {
        const backup = { repository, members, points, scratchDir };
        whole = backUpGroup(parts, run, { ...backup, snapshotsTaken: snapshotsTaken.resolve });
        await Promise.race([whole, snapshotsTaken.promise]);
      });
      told(run, await whole!);
    });
  });
}

type Backup = {
  readonly repository: OpenRepository;
  readonly members: readonly Member[];
  readonly points: readonly string[];
  readonly scratchDir: string;
  readonly snapshotsTaken: () => void;
};

async function backUpGroup(
  parts: ServiceParts,
  run: JobRun,
  { repository, members, points, scratchDir, snapshotsTaken }: Backup,
): Promise<GroupBackupResult> {
  const { clock, settings } = parts;
  const steps: { readonly message: string; readonly code?: string }[] = [];
  const now = (): { readonly startedAt: number } => ({ startedAt: clock.nowMs() });
  await run.task({ name: SNAPSHOT, status: 'InProgress', ...now() });
  let transferring: string | undefined;
  const transferEnded = async (): Promise<void> => {
    if (transferring === undefined) return;
    await run.task({ name: transferOf(transferring), status: 'Completed', endedAt: clock.nowMs() });
  };
  const hosts = [...new Set(members.map(({ vm }) => vm.hostKey))];
  return await withHosts(parts, hosts, async (hypervisors) =>
    backUpVms({
      repository,
      group: groupBackupOf(run.job).group,
      members: members.map(({ item, vm }, at) => ({
        hypervisor: hypervisors.get(vm.hostKey)!,
        vm: vm.name,
        item: item.repositoryItem,
        newPoint: points[at]!,
        disks: selectedDisks(vm, item),
      })),
      scratchDir,
      quiesces: true,
      ...lookedOnce(settings),
      clock,
      signal: run.signal,
      onProgress: run.progress,
      warn: (message) => run.warn(message),
      onStep: (vm, { name, message, code }) => {
        const line = `${vm}: ${name}: ${message}`;
        steps.push({ message: line, ...(code === undefined ? {} : { code }) });
      },
      inTurn: async (transfers) => {
        const ended = { status: 'Completed', endedAt: clock.nowMs(), details: steps } as const;
        await run.task({ name: SNAPSHOT, ...ended });
        snapshotsTaken();
        const limit = settings.transfersPerVault;
        await run.holding([{ name: `transfers to ${run.job.vaultId}`, limit }], transfers);
        await transferEnded();
      },
      onTransfer: async (vm) => {
        await transferEnded();
        transferring = vm;
        await run.task({ name: transferOf(vm), status: 'InProgress', ...now() });
      },
    }),
  );
}

function told(run: JobRun, { members }: GroupBackupResult): void {
  tellSizes(
    run,
    members.flatMap(({ disks }) => disks),
  );
  for (const { vm, consistency, frozenMs, disks } of members) {
    run.property(`Consistency of ${vm}`, consistency);
    if (frozenMs !== undefined) run.property(`Frozen: ${vm}`, `${Math.round(frozenMs)} ms`);
    for (const { name, tracking, reason } of disks) {
      const how = reason === undefined ? tracking : `${tracking}: ${reason}`;
      run.property(`Changes of ${vm} ${name}`, how);
    }
  }
}

/** In documents and catalogue, item by item; done again it changes nothing. */
async function record(parts: ServiceParts, run: JobRun, taken: PointGroup): Promise<void> {
  const { backup, members } = groupBackupOf(run.job);
  const { origin, expiresAt, run: scheduled } = backup;
  for (const id of members) {
    const item = await findItemById(parts.catalogue.read, id);
    if (item === undefined) continue; // Deleted meanwhile, with its points.
    const found = taken.points.find((one) => one.item === item.repositoryItem);
    if (found === undefined || !(await isVisible(parts, item, found.point))) continue;
    const of = { item, point: found.point, jobId: run.job.id };
    await recordPoint(parts, { ...of, origin, expiresAt, run: scheduled });
  }
  if (expiresAt !== undefined) {
    run.property('Recovery Point Expiry Time in UTC', new Date(expiresAt).toISOString());
  }
  await run.task({ name: SNAPSHOT, status: 'Completed', endedAt: parts.clock.nowMs() });
}

/** Somebody may have expired it since. */
async function isVisible(
  { repositories }: ServiceParts,
  { vaultId }: Item,
  point: string,
): Promise<boolean> {
  return await repositories.use(
    vaultId,
    async ({ state }) => state.points.get(point)?.visible === true,
  );
}

async function noteFailures(
  parts: ServiceParts,
  job: Row<'jobs'>,
  failure: JobFailure,
): Promise<void> {
  for (const itemId of groupBackupOf(job).members) {
    const item = await findItemById(parts.catalogue.read, itemId);
    if (item === undefined || whyNot('backUp', item) !== undefined) continue;
    await noteBackupFailure(parts, { itemId, isOnDemand: job.isUserTriggered === 1, failure });
  }
}
