/**
 * The work of a Backup job (R40, M6):
 *
 * ```
 *   host's queue ─► Take Snapshot ─► vault's queue ─► Transfer data to vault ─► point in the repository
 *        ─► point and item in documents and catalogue ─► job ends
 * ```
 * The row names the point before anything is made. Run again after a kill, it looks whether that point is there:
 * if so only the records are written, else everything begins anew and what was stored is used.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '#base';
import { backUpVm, newPointId, type VmBackupResult } from '#backup';
import type { Row } from '../catalogue/schema.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { getHost } from '../hosts/hosts.ts';
import { getVm, type HostVm } from '../hosts/vms.ts';
import { changeItem } from '../items/change-item.ts';
import { isSelected } from '../items/disk-selection.ts';
import { requireAllowed } from '../items/item-states.ts';
import { itemById, type Item } from '../items/items.ts';
import type { LastBackup } from '../items/last-backup.ts';
import type { JobFailure } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { recordPoint } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';

const SNAPSHOT = 'Take Snapshot';
const TRANSFER = 'Transfer data to vault';

const REQUEST = z.strictObject({
  origin: z.enum(['scheduled', 'on-demand']),
  /** Of an on-demand one: the date that was asked for (R20). */
  expiresAt: z.number().optional(),
});

export type BackupRequest = Readonly<z.infer<typeof REQUEST>>;

type Run = {
  readonly parts: ServiceParts;
  readonly run: JobRun;
  readonly item: Item;
  readonly request: BackupRequest;
};

export function backupWork(parts: ServiceParts): JobWork {
  return {
    tasks: [SNAPSHOT, TRANSFER],
    run: async (run) => {
      const item = await itemById(parts.catalogue.read, run.job.itemId!);
      const request = REQUEST.parse(JSON.parse(run.job.request));
      await backUp({ parts, run, item, request });
    },
    failed: async (job, failure) => await noteFailure(parts, job, failure),
  };
}

async function backUp({ parts, run, item, request }: Run): Promise<void> {
  const of = { parts, run, item, request };
  await parts.repositories.use(item.vaultId, async (repository) => {
    const taken = run.job.pointId;
    if (taken === null || repository.state.points.get(taken)?.visible !== true) {
      await takePoint(of, repository);
    }
    await record(of, repository, run.job.pointId!);
  });
}

async function takePoint(of: Run, repository: OpenRepository): Promise<void> {
  const { parts, run, item } = of;
  requireAllowed('backUp', item);
  const vm = await vmOf(parts, item);
  const host = await getHost(parts.catalogue.read, vm.hostKey);
  const limit = host.snapshotsAtOnce ?? parts.settings.snapshotsPerHost;
  await run.setPoint(newPointId(repository.parts));
  const scratchDir = await mkdtemp(join(parts.dataFolder.scratch, 'backup-'));
  try {
    const snapshotTaken = Promise.withResolvers<void>();
    let whole: Promise<VmBackupResult> | undefined;
    // The host's place is given up when the snapshot has been taken: from then on the guest runs as ever.
    await run.holding([{ name: `snapshots of ${vm.hostKey}`, limit }], async () => {
      const backup = { repository, vm, scratchDir, snapshotTaken: snapshotTaken.resolve };
      whole = backUpIn(of, backup).catch(async (error: unknown) => {
        if (!isHoldfastError(error, 'VmNotFound')) throw error;
        await discoverHost(parts, vm.hostKey);
        throw vmGone(item, error);
      });
      await Promise.race([whole, snapshotTaken.promise]);
    });
    await told(run, await whole!);
  } finally {
    await rm(scratchDir, { recursive: true, force: true });
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

/** R55: a VM that is not there any more. */
async function vmOf({ catalogue }: ServiceParts, item: Item): Promise<HostVm> {
  try {
    return await getVm(catalogue.read, { group: item.vmGroup, name: item.vmName });
  } catch (error) {
    if (!isHoldfastError(error, 'ResourceNotFound')) throw error;
    throw vmGone(item, error);
  }
}

function vmGone(item: Item, cause: unknown): HoldfastError {
  return new HoldfastError(
    'UserErrorVmNotFoundV2',
    `The virtual machine '${item.vmName}' of '${item.vmGroup}' doesn't exist (VMNotFoundV2): restore it under its ` +
      'name, or stop its protection.',
    { cause },
  );
}

function selectedDisks(vm: HostVm, item: Item): readonly string[] {
  return vm.facts.disks
    .filter(({ lun }) => isSelected(item.diskSelection, lun))
    .map(({ name }) => name);
}

async function told(run: JobRun, result: VmBackupResult): Promise<void> {
  const stored = result.disks.reduce((sum, disk) => sum + disk.stored, 0);
  const read = result.disks.reduce((sum, disk) => sum + disk.read, 0);
  run.property('Backup Size', `${Math.ceil(stored / 1024 ** 2)} MB`);
  run.property('Data Read', `${Math.ceil(read / 1024 ** 2)} MB`);
  run.property('Consistency', result.consistency);
  if (result.frozenMs !== undefined) run.property('Frozen', `${Math.round(result.frozenMs)} ms`);
  for (const { name, tracking, reason } of result.disks) {
    run.property(`Changes of ${name}`, reason === undefined ? tracking : `${tracking}: ${reason}`);
  }
  await run.task({ name: TRANSFER, status: 'InProgress' });
}

async function record(of: Run, repository: OpenRepository, pointId: string): Promise<void> {
  const { parts, run, item, request } = of;
  const { origin, expiresAt } = request;
  await recordPoint(parts, {
    item,
    repository,
    point: pointId,
    origin,
    jobId: run.job.id,
    expiresAt,
  });
  await run.task({ name: TRANSFER, status: 'Completed', endedAt: parts.clock.nowMs() });
  if (expiresAt === undefined) return;
  run.property('Recovery Point Expiry Time in UTC', new Date(expiresAt).toISOString());
}

async function noteFailure(
  parts: ServiceParts,
  job: Row<'jobs'>,
  failure: JobFailure,
): Promise<void> {
  const query = parts.catalogue.read.selectFrom('items').select(['id', 'vaultId']);
  const known = await query.where('id', '=', job.itemId).executeTakeFirst();
  if (known === undefined) return; // Deleted meanwhile.
  await changeItem(parts, known, async ({ lastBackup }) => {
    const { pointAt, sizeBytes } = lastBackup ?? {};
    const last: LastBackup = {
      status: 'Failed',
      endedAt: parts.clock.nowMs(),
      isOnDemand: job.isUserTriggered === 1,
      failure,
      ...(pointAt === undefined ? {} : { pointAt }),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    return { item: { lastBackup: JSON.stringify(last) }, also: async () => undefined };
  });
}
