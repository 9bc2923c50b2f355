/** `holdfast vm boot`: starts a VM from a recovery point at once, then copies its disks while it runs. */
import { pause, shellQuoted } from '#base';
import { resolve } from 'node:path';
import { bootVm, discardBoot, findPoint, readBootNote, resumeBoot, type BootedVm } from '#backup';
import { checkOutputFolder } from '../arguments/output-paths.ts';
import { cancelled } from '../cancelled.ts';
import type { Context } from '../context.ts';
import { formatDuration } from '../output/units.ts';
import { untilAborted } from '../until-aborted.ts';
import { UsageError } from '../usage-error.ts';
import type { PointOptions } from './options.ts';
import { neededFolder, newVmArguments } from './new-vm-arguments.ts';
import { withHypervisor } from './with-hypervisor.ts';

export type VmBootOptions = Omit<PointOptions, 'connect' | 'repo'> & {
  readonly connect?: string;
  readonly repo?: string;
  readonly as?: string;
  readonly trial?: boolean;
  readonly resume?: boolean;
  readonly discard?: boolean;
};

const DEFAULT_CONNECT = 'qemu:///system';
const OFF_POLL_MS = 2000;

export async function boot(
  context: Context,
  name: string | undefined,
  options: VmBootOptions,
): Promise<void> {
  refuseContradictions(name, options);
  if (options.discard === true) await discard(context, options);
  else if (options.resume === true) await resume(context, options);
  else await bootNew(context, name!, options);
}

function refuseContradictions(name: string | undefined, options: VmBootOptions): void {
  const { resume: resumes, discard: discards, as, repo } = options;
  const { trial, point, disk, network, sameIdentity } = options;
  const given = [name, as, trial, point, disk, network, sameIdentity];
  const isKnown = resumes === true || discards === true;
  if (resumes === true && discards === true) {
    throw new UsageError('--resume and --discard contradict each other: give one of them');
  }
  if (isKnown && given.some((one) => one !== undefined)) {
    const flag = resumes === true ? '--resume' : '--discard';
    throw new UsageError(
      `${flag} knows VM and point by --dir: give neither, nor what they are like`,
    );
  }
  if (!isKnown) refuseMissing({ '--as NEW-NAME': as, 'the name of the VM': name });
  if (discards !== true) refuseMissing({ '--repo REPO': repo });
}

function refuseMissing(needed: Readonly<Record<string, string | undefined>>): void {
  for (const [what, value] of Object.entries(needed)) {
    if (value === undefined) throw new UsageError(`${what} is missing`);
  }
}

async function bootNew(context: Context, name: string, options: VmBootOptions): Promise<void> {
  const { disk } = options;
  const location = options.repo!;
  const directory = resolve(neededFolder(options, 'where do the images go?'));
  checkOutputFolder(directory, location);
  const connect = options.connect ?? DEFAULT_CONNECT;
  await withHypervisor(context, { connect }, async (hypervisor) => {
    await context.withRepository({ location, access: 'read' }, async (repository) => {
      const left = `${options.as} was not started, and nothing of it is left in ${directory}`;
      const booted = await unlessCancelled(context, left, async () =>
        bootVm({
          repository,
          point: await findPoint(repository, options.point ?? 'latest', name),
          directory,
          newVm: { ...newVmArguments(options), name: options.as!, hypervisor },
          isTrial: options.trial === true,
          clock: context.surroundings.clock,
          signal: context.signal,
          warn: context.terminal.warn,
          ...(disk === undefined ? {} : { disks: disk }),
        }),
      );
      await runOn(context, booted, { directory, location });
    });
  });
}

async function resume(context: Context, options: VmBootOptions): Promise<void> {
  const directory = resolve(neededFolder(options, 'where was the VM booted?'));
  const location = options.repo!;
  const note = await readBootNote(directory);
  const connect = options.connect ?? note.connect;
  await withHypervisor(context, { connect }, async (hypervisor) => {
    await context.withRepository({ location, access: 'read' }, async (repository) => {
      const { clock } = context.surroundings;
      const { warn } = context.terminal;
      const left = `${note.vm} is as it was: ${resumeCommand(context, { directory, location })} goes on`;
      const booted = await unlessCancelled(context, left, async () =>
        resumeBoot({ repository, hypervisor, directory, note, clock, warn }),
      );
      await runOn(context, booted, { directory, location });
    });
  });
}

async function discard(context: Context, options: VmBootOptions): Promise<void> {
  const directory = resolve(neededFolder(options, 'where was the VM booted?'));
  const note = await readBootNote(directory);
  const connect = options.connect ?? note.connect;
  await withHypervisor(context, { connect }, async (hypervisor) => {
    const left = `not all of ${note.vm} may be removed from ${directory} yet: run it again`;
    await unlessCancelled(context, left, async () => discardBoot({ hypervisor, directory, note }));
  });
  context.terminal.result({ vm: { name: note.vm }, point: note.point, discarded: true }, () => {
    return `${note.vm} and what it wrote were removed; point ${note.point} stays as it is.`;
  });
}

/** @param left what is there where `run` is cancelled. */
async function unlessCancelled<Result>(
  { signal }: Context,
  left: string,
  run: () => Promise<Result>,
): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    throw signal.aborted ? cancelled(left, error) : error;
  }
}

type Place = { readonly directory: string; readonly location: string };

async function runOn(context: Context, booted: BootedVm, place: Place): Promise<void> {
  try {
    if (booted.isTrial) await runTrial(context, booted, place);
    else await moveAll(context, booted, place);
  } finally {
    await booted.close();
  }
}

async function moveAll(context: Context, booted: BootedVm, place: Place): Promise<void> {
  const { terminal, signal, surroundings } = context;
  const { name, point, seconds, images } = booted;
  terminal.note(
    `${name} runs from point ${point}, after ${formatDuration(seconds)}. Its disks are copied while it runs; Ctrl-C powers it off.`,
  );
  const startedMs = surroundings.clock.monotonicMs();
  try {
    await booted.move(terminal.onProgress, signal);
  } catch (error) {
    terminal.clearProgress();
    const goOn = `go on with ${resumeCommand(context, place)}`;
    if (!signal.aborted && !(await booted.isOff())) {
      terminal.warn(
        `its disks could not be copied: ${(error as Error).message}. It runs on from the point while this command does: shut it down, or end this with Ctrl-C; then ${goOn}`,
      );
      await untilOff(context, booted);
    }
    // Without us it could not read its disks. What the guest has written is in the overlays.
    const paused = `${name} could not be powered off, and pauses when it reads what is not in ${place.directory} yet: ${goOn}`;
    await unlessCancelled(context, paused, booted.powerOff);
    const off = `${name} is off, and what it wrote is kept in ${place.directory}: ${goOn}`;
    if (signal.aborted) throw cancelled(off, error);
    terminal.note(off);
    throw error;
  }
  const moveSeconds = (surroundings.clock.monotonicMs() - startedMs) / 1000;
  terminal.result(
    { point, vm: { name, isStarted: true }, disks: images, seconds, moveSeconds },
    () => {
      const paths = images.map(({ path }) => path).join(', ');
      return `${name} runs on its own disks, copied in ${formatDuration(moveSeconds)}: ${paths}`;
    },
  );
}

async function untilOff({ signal, surroundings }: Context, booted: BootedVm): Promise<void> {
  while (!signal.aborted && !(await booted.isOff())) {
    await pause(surroundings.clock, OFF_POLL_MS, signal);
  }
}

function resumeCommand({ options }: Context, { directory, location }: Place): string {
  const plain = options.encryption ? '' : ' --no-encryption';
  return `holdfast vm boot --resume --dir ${shellQuoted(directory)} --repo ${shellQuoted(location)}${plain}`;
}

async function runTrial(context: Context, booted: BootedVm, { directory }: Place): Promise<void> {
  const { terminal, signal } = context;
  const { name, point, seconds, images } = booted;
  terminal.result({ point, vm: { name, isStarted: true }, disks: images, seconds }, () => {
    return `${name} runs from point ${point}, after ${formatDuration(seconds)}.`;
  });
  terminal.note(
    `Ctrl-C ends the trial: ${name} is powered off and removed from ${directory}; the point stays as it is.`,
  );
  try {
    await untilAborted(signal);
  } finally {
    const left = `${name} could not be removed: holdfast vm boot --discard --dir ${shellQuoted(directory)} does`;
    await unlessCancelled(context, left, booted.discard);
  }
  terminal.note(`${name} was powered off, and removed with what it wrote in ${directory}.`);
}
