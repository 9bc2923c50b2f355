/**
 * The work of an InstantBoot job: waits for its storage account's queue, boots a VM from a point, and moves the VM
 * to disks of its own while it runs; a trial runs until it is cancelled (decision 0010).
 *
 * ```
 *   no note ─► VM there, its images in the folder? ─► yes: that try was done, only its end is written
 *      │                                          └► no: booted ──┐
 *   note ──► resumed; a VM that was never made is booted anew ────┴► moved ─► done       the service ends: it stands still
 *                                                                 └► trial ─► cancelled ─► discarded
 *   cancelled: discarded       failed, the VM or the point is gone: what the guest wrote stays
 * ```
 */
import { readdir, rm } from 'node:fs/promises';
import { isHoldfastError, pause, shellQuoted, throwIfCancelled, type HoldfastError } from '#base';
import {
  bootVm,
  discardBoot,
  isMoved,
  readBootNote,
  resumeBoot,
  type BootedVm,
  type BootNote,
  type Hypervisor,
} from '#backup';
import { discoverHost } from '../hosts/discovery.ts';
import { propertiesFromJson, type JobFailure } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { nameKey } from '../names.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { bootRequestFromJson, type BootRequest } from './boot-request.ts';
import { newVmOf } from './start-boot.ts';

const START = 'Start virtual machine';
const MOVE = 'Transfer data from vault';
/** What the VM stands on; absent: it never ran. */
const STATE = 'State';
const LAST_ERROR = 'Last error';
/** Between two tries of what keeps a VM from its disks. */
const AGAIN_MS = 5000;

type Boot = {
  readonly parts: ServiceParts;
  readonly run: JobRun;
  readonly request: BootRequest;
  /** Whether the VM has run, in this try or before. */
  hasRun: boolean;
};

/** What is open while the VM needs the point. */
type Means = { readonly repository: OpenRepository; readonly hypervisor: Hypervisor };

export function bootWork(parts: ServiceParts): JobWork {
  const bootOf = (run: JobRun): Boot => ({
    parts,
    run,
    request: bootRequestFromJson(run.job.request),
    hasRun: STATE in propertiesFromJson(run.job.properties),
  });
  return {
    tasks: [START, MOVE],
    isCancellable: true,
    run: async (run) => await inQueue(bootOf(run)),
    isDone: async (run) => await endedBefore(bootOf(run)),
    failed: async ({ properties }, failure, run) => {
      await endRemains(
        { ...bootOf(run), hasRun: STATE in propertiesFromJson(properties) },
        failure,
      );
    },
  };
}

async function inQueue(boot: Boot): Promise<void> {
  const { parts, run, request } = boot;
  // A VM that stands still for want of its point waits for nobody.
  const isUnderWay = (await noteIn(request)) !== undefined;
  const limit = isUnderWay ? Infinity : parts.settings.bootsPerStorageAccount;
  await run.holding([{ name: `boots to ${nameKey(request.account.name)}`, limit }], async () => {
    while (!(await endedBefore(boot))) {
      try {
        await withMeans(boot, async (means) => await boots(boot, means));
        return;
      } catch (error) {
        if (!(await isWorthWaiting(boot, error))) throw error;
        tellError(boot, error as HoldfastError);
        await pause(parts.clock, AGAIN_MS, run.signal);
        throwIfCancelled(run.signal);
      }
    }
  });
}

/** Of a VM that has begun to live, whatever may pass by itself. */
async function isWorthWaiting({ run, request }: Boot, error: unknown): Promise<boolean> {
  if (run.signal.aborted || !isHoldfastError(error) || !error.retryable) return false;
  return (await noteIn(request)) !== undefined;
}

async function withMeans<Result>(
  { parts, run, request }: Pick<Boot, 'parts' | 'run' | 'request'>,
  work: (means: Means) => Promise<Result>,
): Promise<Result> {
  return await parts.repositories.read(run.job.vaultId, async (repository) =>
    parts.hosts.use(request.hostKey, async (hypervisor) => work({ repository, hypervisor })),
  );
}

/** Until the VM is on disks of its own; a trial: until the signal. */
async function boots(boot: Boot, means: Means): Promise<void> {
  const { parts, run, request } = boot;
  await run.task({ name: START, status: 'InProgress', startedAt: parts.clock.nowMs() });
  const booted = await standing(boot, means);
  try {
    // QMP serves one client: the host's own VM is others' now, and this one has a socket of its own.
    if (means.hypervisor.kind === 'qemu') await means.hypervisor.close();
    if (!boot.hasRun) run.property('Seconds until it was started', booted.seconds.toFixed(1));
    boot.hasRun = true;
    run.property(STATE, 'Booted');
    run.property('Target Folder', request.directory);
    run.property(LAST_ERROR, '');
    await run.task({ name: START, status: 'Completed', endedAt: parts.clock.nowMs() });
    await run.settled();
    await discoverHost(parts, request.hostKey);
    if (request.isTrial) await untilEnd(boot);
    else await move(boot, booted);
  } finally {
    await booted.close();
  }
}

/** Running, or let run on. */
async function standing(boot: Boot, { repository, hypervisor }: Means): Promise<BootedVm> {
  const { parts, run, request } = boot;
  const { point, directory, disks, isTrial } = request;
  const common = {
    repository,
    directory,
    clock: parts.clock,
    warn: (message: string) => run.warn(message),
  };
  const note = await noteIn(request);
  if (note !== undefined) {
    try {
      return await resumeBoot({ ...common, hypervisor, note });
    } catch (error) {
      if (boot.hasRun || !isHalfMade(error)) throw error;
      await discardBoot({ hypervisor, directory, note });
    }
  }
  return await bootVm({
    ...common,
    point,
    ...(disks === undefined ? {} : { disks }),
    newVm: { ...newVmOf(request), hypervisor },
    isTrial,
    signal: run.signal,
  });
}

/** Killed before there was a VM. */
function isHalfMade(error: unknown): boolean {
  return isHoldfastError(error, 'VmNotFound') || isHoldfastError(error, 'DiskNotFound');
}

async function untilEnd({ parts, run }: Boot): Promise<void> {
  await run.task({ name: MOVE, status: 'Skipped' });
  const dayMs = 24 * 60 * 60 * 1000;
  while (!run.signal.aborted) await pause(parts.clock, dayMs, run.signal);
  throwIfCancelled(run.signal);
}

/** The VM runs on from the point, whatever keeps it from its disks; only where it is gone this fails. */
async function move(boot: Boot, booted: BootedVm): Promise<void> {
  const { parts, run } = boot;
  const { clock } = parts;
  await run.task({ name: MOVE, status: 'InProgress', startedAt: clock.nowMs() });
  for (;;) {
    run.property(STATE, 'Moving to its disks');
    try {
      await booted.move(run.progress, run.signal);
      break;
    } catch (error) {
      if (run.signal.aborted || !isHoldfastError(error) || !error.retryable) throw error;
      if (await booted.isOff()) run.property(STATE, 'Shut down: start it, and its disks are moved');
      tellError(boot, error);
      await pause(clock, AGAIN_MS, run.signal);
      throwIfCancelled(run.signal);
    }
  }
  await tellMoved(boot);
}

async function tellMoved({ parts, run, request }: Boot): Promise<void> {
  run.property(STATE, 'On its own disks');
  run.property(LAST_ERROR, '');
  run.property('Target Folder', request.directory);
  run.property('Restored Files', (await imagesIn(request.directory)).join(', '));
  await run.task({ name: MOVE, status: 'Completed', endedAt: parts.clock.nowMs() });
}

/** An earlier try came to its end, and was killed or cancelled before it could say so. */
async function endedBefore(boot: Boot): Promise<boolean> {
  const { run, request } = boot;
  if (request.isTrial || (await imagesIn(request.directory)).length === 0) return false;
  const note = await noteIn(request);
  if (note === undefined) {
    if (!(await hasImages(boot))) return false;
  } else {
    if (!(await isMoved(note))) return false;
    await withMeans(boot, async ({ repository, hypervisor }) => {
      const { directory } = request;
      const warn = (message: string): void => run.warn(message);
      const { clock } = boot.parts;
      const booted = await resumeBoot({ repository, hypervisor, directory, note, clock, warn });
      try {
        await booted.move();
      } finally {
        await booted.close();
      }
    });
  }
  await tellMoved(boot);
  return true;
}

/** Whether the VM is there, with images in its folder. */
async function hasImages({ parts, request }: Boot): Promise<boolean> {
  const { hostKey, vmName, directory } = request;
  return await parts.hosts.use(hostKey, async ({ creation }) => {
    try {
      const { disks } = await creation.defined(vmName, directory);
      return disks.some(({ location }) => location.startsWith(`${directory}/`));
    } catch (error) {
      if (isHoldfastError(error, 'VmNotFound')) return false;
      throw error;
    }
  });
}

/** Of a job that was cancelled, or has failed for good. */
async function endRemains(boot: Boot, { code }: JobFailure): Promise<void> {
  const { parts, run, request } = boot;
  const { directory, vmName, hostKey, isTrial } = request;
  const note = await noteIn(request);
  const isUnwanted = code === 'Cancelled' || isTrial;
  if (note !== undefined) {
    const discard = `holdfast vm boot --discard --dir ${shellQuoted(directory)}`;
    const left = `'${vmName}' and what it wrote are in ${directory}; to remove them: ${discard}`;
    run.property('Remains', left);
    if (!isUnwanted) return;
    await parts.hosts.use(hostKey, async (hypervisor) => {
      await discardBoot({ hypervisor, directory, note });
    });
    run.property('Remains', '');
  }
  if ((await imagesIn(directory)).length > 0) return;
  // What QEMU has written there beside its disks: the output of a serial port.
  await rm(directory, { recursive: true, force: true });
  if (!isUnwanted || !boot.hasRun) return;
  run.property(STATE, 'Discarded, with what the guest wrote');
  run.property('Target Folder', '');
  // A host that shows one VM only, and has none now, would not say that it is gone.
  const gone = { goneAt: parts.clock.nowMs() };
  await parts.catalogue.change(async (change) => {
    const ofHost = change.updateTable('vms').set(gone).where('hostKey', '=', hostKey);
    await ofHost.where('key', '=', nameKey(vmName)).where('goneAt', 'is', null).execute();
  });
  await discoverHost(parts, hostKey);
}

function tellError({ run }: Boot, { message, code }: HoldfastError): void {
  run.property(LAST_ERROR, `${message} [${code}]`);
}

async function noteIn({ directory }: BootRequest): Promise<BootNote | undefined> {
  try {
    return await readBootNote(directory);
  } catch (error) {
    if (isHoldfastError(error, 'BootNotFound')) return undefined;
    throw error;
  }
}

async function imagesIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []); // It may not be there.
  return names.filter((name) => name.endsWith('.qcow2')).map((name) => `${directory}/${name}`);
}
