/**
 * The work of a Restore job: waits for its storage account's queue (M22), then restores from the vault (M24).
 * What it writes goes into a folder of its own, named after VM, time and job:
 *
 * ```
 *   folder of an earlier try ─ a VM uses it? ─► yes: that try was done, only its end is written
 *                                            └► no: removed ─► images ─► VM made, or given the images
 *   failed, cancelled: the folder is removed, but for whole images that no VM could be made of (R69)
 * ```
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isHoldfastError } from '#base';
import {
  inScratch,
  newPointId,
  replaceVm,
  restoreVm,
  writeDefinition,
  type Hypervisor,
} from '#backup';
import type { Row } from '../catalogue/schema.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { findVm, getVm } from '../hosts/vms.ts';
import { itemById, type Item } from '../items/items.ts';
import { propertiesFromJson } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { nameKey } from '../names.ts';
import { getPoint, type Point } from '../points/points.ts';
import { recordPoint } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { chosenOf } from './pending-images.ts';
import { requireFolder } from './require-room.ts';
import { restoreFolder } from './restore-folder.ts';
import { LOAD, restoreRequestFromJson, type RestoreRequest } from './restore-request.ts';

const TASK = 'Transfer data from vault';
const FILES = 'Restored Files';

type Kind<Name extends RestoreRequest['kind']> = Extract<RestoreRequest, { readonly kind: Name }>;

type HypervisorVm = Awaited<ReturnType<Hypervisor['list']>>[number];

type Restore<Request extends RestoreRequest = RestoreRequest> = {
  readonly parts: ServiceParts;
  readonly run: JobRun;
  readonly item: Item;
  readonly point: Point;
  readonly request: Request;
  readonly repository: OpenRepository;
  /** Of this job alone. */
  readonly directory: string;
};

export function restoreWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: true,
    run: async (run) => await inQueue(parts, run),
    isDone: async (run) => {
      await recordSafetyPoint(parts, run);
      return await finishedBefore(parts, run);
    },
    failed: async (job) => await removeRemains(parts, job),
  };
}

async function inQueue(parts: ServiceParts, run: JobRun): Promise<void> {
  const { catalogue, settings, clock } = parts;
  const { account: name } = restoreRequestFromJson(run.job.request);
  const account = await getStorageAccount(catalogue.read, name);
  const limit = account.restoresAtOnce ?? settings.restoresPerStorageAccount;
  const slot = { name: `restores to ${nameKey(account.name)}`, limit };
  await run.holding([slot], async () => {
    run.property(LOAD, '');
    await run.task({ name: TASK, status: 'InProgress', startedAt: clock.nowMs() });
    if (await finishedBefore(parts, run)) return;
    await requireFolder(account); // It may be another since the job was accepted.
    // Of a try that was killed: this one's own comes in its place in the row, as the VM may have run meanwhile.
    await recordSafetyPoint(parts, run);
    try {
      await restore(parts, run);
    } finally {
      await recordSafetyPoint(parts, run);
    }
    await run.task({ name: TASK, status: 'Completed', endedAt: clock.nowMs() });
  });
}

async function restore(parts: ServiceParts, run: JobRun): Promise<void> {
  const { catalogue, repositories } = parts;
  const request = restoreRequestFromJson(run.job.request);
  const item = await itemById(catalogue.read, run.job.itemId!);
  const point = await getPoint(catalogue.read, item.id, request.point);
  const directory = await restoreFolder(parts.catalogue.read, run.job);
  await rm(directory, { recursive: true, force: true });
  run.property(FILES, '');
  // A replacement backs up first. What only reads does so beside the owner, also where nothing can be written: then
  // it has no pin, and only expiry waits for the job.
  const lend = request.kind === 'replace' ? repositories.use : repositories.read;
  await lend(item.vaultId, async (repository) => {
    const whole = { parts, run, item, point, repository, directory };
    if (request.kind === 'disks') await restoreImages({ ...whole, request });
    else if (request.kind === 'new-vm') await makeVm({ ...whole, request });
    else await replace({ ...whole, request });
  });
  run.property('Target Folder', directory);
}

/** What every kind of restore says to the data plane. */
function writingOf({ parts, run, repository, point, request, directory }: Restore) {
  return {
    repository,
    point: point.id,
    ...chosenDisks(point, request),
    directory,
    clock: parts.clock,
    signal: run.signal,
    onProgress: run.progress,
  } as const;
}

async function restoreImages(whole: Restore<Kind<'disks'>>): Promise<void> {
  const { run, point, repository, directory } = whole;
  await rm(directory, { recursive: true, force: true }); // Of a look into an index that was damaged.
  const { disks } = await restoreVm({ ...writingOf(whole), format: 'qcow2' });
  const definition = await writeDefinition(repository, point.id, directory);
  tellFiles(run, [...disks.map(({ path }) => path), ...definition]);
}

async function makeVm(whole: Restore<Kind<'new-vm'>>): Promise<void> {
  const { parts, run, item, request, directory } = whole;
  const { hostKey, vmName: name, network, starts } = request;
  try {
    const { disks, vm } = await restoreVm({
      ...writingOf(whole),
      format: 'qcow2',
      newVm: {
        lend: async (work) => await parts.hosts.use(hostKey, work),
        name,
        identity: isItself(item, request) ? 'same' : 'new',
        networks: network === undefined ? 'none' : { all: network },
        starts,
        warn: (message) => run.warn(message),
      },
    });
    tellFiles(
      run,
      disks.map(({ path }) => path),
    );
    run.property('Target VM', vm!.name);
  } catch (error) {
    // Images are left only whole ones, where the VM could not be made or started (R69).
    const left = await filesIn(directory);
    if (left.length > 0) tellFiles(run, left);
    throw error;
  }
  await discoverHost(parts, hostKey);
}

/** Whether the VM that is gone comes back where it was: then it is no copy, and remains who it was (R56). */
function isItself({ vmGroup, vmName }: Item, asked: Kind<'new-vm'>): boolean {
  return nameKey(asked.vmName) === nameKey(vmName) && asked.hostKey === nameKey(vmGroup);
}

async function replace(whole: Restore<Kind<'replace'>>): Promise<void> {
  const { parts, run, item, repository } = whole;
  const { catalogue, dataFolder } = parts;
  const vm = await getVm(catalogue.read, { group: item.vmGroup, name: item.vmName });
  await run.setPoint(newPointId(repository.parts));
  const result = await inScratch(dataFolder.scratch, async (scratchDir) =>
    parts.hosts.use(vm.hostKey, async (hypervisor) =>
      replaceVm({
        ...writingOf(whole),
        hypervisor,
        vm: vm.name,
        item: item.repositoryItem,
        newPoint: run.job.pointId!,
        scratchDir,
        warn: (message) => run.warn(message),
      }),
    ),
  );
  tellFiles(
    run,
    result.disks.map(({ path }) => path),
  );
  run.property('Disks before', result.oldImages.join(', '));
  await discoverHost(parts, vm.hostKey);
}

/** R68: what a replacement took before, whatever became of the rest. */
async function recordSafetyPoint(parts: ServiceParts, run: JobRun): Promise<void> {
  const { pointId: point, vaultId, itemId, id: jobId } = run.job;
  if (point === null) return;
  const isThere = await parts.repositories.use(
    vaultId,
    async ({ state }) => state.points.get(point)?.visible === true,
  );
  if (!isThere) return;
  const item = await itemById(parts.catalogue.read, itemId!);
  await recordPoint(parts, { item, point, jobId, origin: 'safety' });
  run.property('Recovery point of the disks before', point);
}

/** An earlier try came to its end, and was killed before it could say so: a VM has the images. */
async function finishedBefore(parts: ServiceParts, run: JobRun): Promise<boolean> {
  const directory = await restoreFolder(parts.catalogue.read, run.job);
  const user = await userOf(parts, run.job, directory);
  if (user === undefined) return false;
  await recordSafetyPoint(parts, run);
  tellFiles(run, await filesIn(directory));
  run.property('Target Folder', directory);
  const request = restoreRequestFromJson(run.job.request);
  if (request.kind === 'new-vm') {
    run.property('Target VM', user.name);
    if (request.starts && user.state === 'off') {
      run.warn(`The service ended before '${user.name}' was started: start it.`);
    }
  }
  await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
  return true;
}

/** The VM whose disks lie in the folder, as its host knows it now. */
async function userOf(parts: ServiceParts, job: Row<'jobs'>, directory: string) {
  const request = restoreRequestFromJson(job.request);
  if (request.kind === 'disks' || (await filesIn(directory)).length === 0) return undefined;
  const hostKey = request.kind === 'new-vm' ? request.hostKey : await hostOf(parts, job.itemId!);
  if (hostKey === undefined) return undefined;
  const uses = ({ disks }: HypervisorVm): boolean =>
    disks.some(({ location }) => location.startsWith(`${directory}/`));
  return await parts.hosts.use(hostKey, async (hypervisor) => {
    const listed = (await hypervisor.list()).find(uses);
    if (listed !== undefined || request.kind !== 'new-vm') return listed;
    const made = await madeIn(hypervisor, request.vmName, directory);
    return made !== undefined && uses(made) ? made : undefined;
  });
}

/** Of a host that shows one VM only, the one at its socket: another one is known where it was made. */
async function madeIn(
  { creation }: Hypervisor,
  name: string,
  directory: string,
): Promise<HypervisorVm | undefined> {
  try {
    const vm = await creation.defined(name, directory);
    const state = await creation.runState(name);
    return { ...vm, state: state === 'failed' ? 'paused' : state };
  } catch (error) {
    if (isHoldfastError(error, 'VmNotFound')) return undefined;
    throw error;
  }
}

/** Of the item's VM; undefined: it is gone. */
async function hostOf({ catalogue }: ServiceParts, itemId: string): Promise<string | undefined> {
  const { vmGroup: group, vmName: name } = await itemById(catalogue.read, itemId);
  return (await findVm(catalogue.read, { group, name }))?.hostKey;
}

/** Of a job that has failed or was cancelled. Whether a VM has them was asked before: then it had ended well. */
async function removeRemains(parts: ServiceParts, job: Row<'jobs'>): Promise<void> {
  // R69: whole, and said to be there.
  if ((propertiesFromJson(job.properties)[FILES] ?? '') !== '') return;
  const directory = await restoreFolder(parts.catalogue.read, job);
  if ((await userOf(parts, job, directory)) !== undefined) return;
  await rm(directory, { recursive: true, force: true }).catch((error: unknown) => {
    // What the account's folder was is a file now: nothing of ours is there.
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') throw error;
  });
}

async function filesIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []); // It may not be there.
  return entries.filter((entry) => entry.isFile()).map(({ name }) => join(directory, name));
}

function chosenDisks(
  { facts }: Point,
  { luns }: RestoreRequest,
): { readonly disks?: readonly string[] } {
  if (luns === undefined) return {};
  const chosen = chosenOf(facts.disks, luns);
  return { disks: chosen.map(({ name }) => name) };
}

function tellFiles(run: JobRun, paths: readonly string[]): void {
  run.property(FILES, paths.join(', '));
}
