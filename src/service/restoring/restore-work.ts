/**
 * The work of a Restore job: waits for its storage account's queue (M22), then restores from the vault (M24).
 * What it writes goes into a folder of its own, named after VM, time and job; run again after a kill, it removes
 * that and begins anew.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceVm, restoreVm, writeDefinition } from '#backup';
import { getVm } from '../hosts/vms.ts';
import { itemById, type Item } from '../items/items.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { nameKey } from '../names.ts';
import { getPoint, type Point } from '../points/points.ts';
import { recordPoint } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { restoreRequestFromJson, type RestoreRequest } from './restore-request.ts';

const TASK = 'Transfer data from vault';

type Restore = {
  readonly parts: ServiceParts;
  readonly run: JobRun;
  readonly item: Item;
  readonly point: Point;
  readonly request: RestoreRequest;
  readonly repository: OpenRepository;
  /** Of this job alone. */
  readonly directory: string;
};

export function restoreWork(parts: ServiceParts): JobWork {
  return { tasks: [TASK], isCancellable: true, run: async (run) => await restore(parts, run) };
}

async function restore(parts: ServiceParts, run: JobRun): Promise<void> {
  const { catalogue, settings, clock, repositories } = parts;
  const request = restoreRequestFromJson(run.job.request);
  const item = await itemById(catalogue.read, run.job.itemId!);
  const point = await getPoint(catalogue.read, item.id, request.point);
  const account = await getStorageAccount(catalogue.read, request.account);
  const limit = account.restoresAtOnce ?? settings.restoresPerStorageAccount;
  const slot = { name: `restores to ${nameKey(account.name)}`, limit };
  const directory = join(account.path, folderName(run));
  await run.holding([slot], async () => {
    await run.task({ name: TASK, status: 'InProgress', startedAt: clock.nowMs() });
    await repositories.use(item.vaultId, async (repository) => {
      await rm(directory, { recursive: true, force: true });
      const whole = { parts, run, item, point, request, repository, directory };
      if (request.kind === 'replace') await replace(whole);
      else await restoreImages(whole, request);
    });
    run.property('Target Folder', directory);
    await run.task({ name: TASK, status: 'Completed', endedAt: clock.nowMs() });
  });
}

/** The same for every try of the job: `web-20261122-101500-1f0c`. */
function folderName({ job }: JobRun): string {
  const time = new Date(job.createdAt).toISOString().replaceAll(/[-:]|\.\d+Z/g, '');
  const vm = job.entity.toLowerCase().replaceAll(/[^\p{L}\p{N}_.-]/gu, '_');
  return `${vm}-${time.replace('T', '-')}-${job.id.slice(0, 4)}`;
}

async function restoreImages(
  whole: Restore,
  request: Exclude<RestoreRequest, { readonly kind: 'replace' }>,
): Promise<void> {
  const { parts, run, point, repository, directory } = whole;
  const { clock } = parts;
  const writing = {
    repository,
    point: point.id,
    ...chosenDisks(point, request),
    directory,
    format: 'qcow2',
    clock,
    signal: run.signal,
    onProgress: run.progress,
  } as const;
  await mkdir(directory, { recursive: true });
  if (request.kind === 'disks') {
    const { disks } = await restoreVm(writing);
    const definition = await writeDefinition(repository, point.id, directory);
    told(run, [...disks.map(({ path }) => path), ...definition]);
    return;
  }
  const { hostKey, vmName: name, network, starts } = request;
  const { disks, vm } = await parts.hosts.use(hostKey, async (hypervisor) =>
    restoreVm({
      ...writing,
      newVm: {
        hypervisor,
        name,
        identity: 'new',
        networks: network === undefined ? 'none' : { all: network },
        starts,
        warn: (message) => run.warn(message),
      },
    }),
  );
  told(
    run,
    disks.map(({ path }) => path),
  );
  run.property('Target VM', vm!.name);
}

async function replace(whole: Restore): Promise<void> {
  const { parts, run, item, point, request, repository, directory } = whole;
  const { catalogue, clock, dataFolder } = parts;
  const vm = await getVm(catalogue.read, { group: item.vmGroup, name: item.vmName });
  const scratchDir = await mkdtemp(join(dataFolder.scratch, 'restore-'));
  try {
    const result = await parts.hosts.use(vm.hostKey, async (hypervisor) =>
      replaceVm({
        repository,
        hypervisor,
        vm: vm.name,
        item: item.repositoryItem,
        point: point.id,
        ...chosenDisks(point, request),
        directory,
        scratchDir,
        clock,
        signal: run.signal,
        onProgress: run.progress,
        warn: (message) => run.warn(message),
      }),
    );
    told(
      run,
      result.disks.map(({ path }) => path),
    );
    run.property('Recovery point of the disks before', result.safetyPoint);
    run.property('Disks before', result.oldImages.join(', '));
    const { safetyPoint } = result;
    const recorded = { item, repository, point: safetyPoint, jobId: run.job.id } as const;
    await recordPoint(parts, { ...recorded, origin: 'safety' });
  } finally {
    await rm(scratchDir, { recursive: true, force: true });
  }
}

function chosenDisks(
  { facts }: Point,
  { luns }: RestoreRequest,
): { readonly disks?: readonly string[] } {
  if (luns === undefined) return {};
  const chosen = facts.disks.filter(({ lun }) => lun === undefined || luns.includes(lun));
  return { disks: chosen.map(({ name }) => name) };
}

function told(run: JobRun, paths: readonly string[]): void {
  run.property('Restored Files', paths.join(', '));
}
