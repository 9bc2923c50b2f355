/** `holdfast vm boot`: starts a VM from a recovery point at once, then copies its disks while it runs. */
import { resolve } from 'node:path';
import { bootVm, findPoint, type BootedVm } from '#backup';
import { checkOutputFolder } from '../arguments/output-paths.ts';
import type { Context } from '../context.ts';
import { formatDuration } from '../output/units.ts';
import { untilAborted } from '../until-aborted.ts';
import type { PointOptions } from './options.ts';
import { neededFolder, newVmArguments } from './new-vm-arguments.ts';
import { withHypervisor } from './with-hypervisor.ts';

export type VmBootOptions = PointOptions & {
  readonly as: string;
  readonly trial?: boolean;
};

export async function boot(context: Context, name: string, options: VmBootOptions): Promise<void> {
  const { repo: location, as, disk, trial } = options;
  const directory = resolve(neededFolder(options, 'where do the images go?'));
  checkOutputFolder(directory, location);
  const { clock } = context.surroundings;
  const { warn } = context.terminal;
  await withHypervisor(context, options, async (hypervisor) => {
    await context.withRepository({ location, access: 'read' }, async (repository) => {
      const point = await findPoint(repository, options.point ?? 'latest', name);
      const booted = await bootVm({
        repository,
        point,
        directory,
        newVm: { ...newVmArguments(options), name: as, hypervisor },
        clock,
        signal: context.signal,
        warn,
        ...(disk === undefined ? {} : { disks: disk }),
      });
      try {
        if (trial === true) await runTrial(context, { booted, point });
        else await moveAll(context, { booted, point });
      } finally {
        await booted.close();
      }
    });
  });
}

type Booted = { readonly booted: BootedVm; readonly point: string };

async function moveAll(context: Context, { booted, point }: Booted): Promise<void> {
  const { terminal, signal, surroundings } = context;
  const started = `${booted.name} runs from point ${point}, after ${formatDuration(booted.seconds)}.`;
  terminal.note(`${started} Its disks are copied while it runs; Ctrl-C powers it off.`);
  const startedMs = surroundings.clock.monotonicMs();
  try {
    await booted.move(terminal.onProgress, signal);
  } catch (error) {
    terminal.clearProgress();
    if (!signal.aborted) {
      terminal.warn(`its disks could not be copied: ${(error as Error).message}`);
      terminal.note(
        'It runs on from the point while this command does; shut it down, then Ctrl-C.',
      );
      await untilAborted(signal);
    }
    // Without us it could not read its disks. What the guest has written is in the overlays.
    await booted.powerOff();
    throw error;
  }
  const moveSeconds = (surroundings.clock.monotonicMs() - startedMs) / 1000;
  const { name, seconds, images } = booted;
  terminal.result(
    { point, vm: { name, isStarted: true }, disks: images, seconds, moveSeconds },
    () => {
      const paths = images.map(({ path }) => path).join(', ');
      return `${name} runs on its own disks, copied in ${formatDuration(moveSeconds)}: ${paths}`;
    },
  );
}

async function runTrial(context: Context, { booted, point }: Booted): Promise<void> {
  const { terminal, signal } = context;
  const { name, seconds, images } = booted;
  terminal.result({ point, vm: { name, isStarted: true }, disks: images, seconds }, () => {
    return `${name} runs from point ${point}, after ${formatDuration(seconds)}.`;
  });
  terminal.note(
    'Ctrl-C ends the trial: the VM is powered off and removed; the point stays as it is.',
  );
  try {
    await untilAborted(signal);
  } finally {
    await booted.discard();
  }
}
