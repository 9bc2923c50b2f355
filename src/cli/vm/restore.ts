/** `holdfast vm restore`: disks of a VM, a new VM, or the VM's disks put back in their place. */
import { resolve } from 'node:path';
import { isHoldfastError } from '#base';
import {
  findPoint,
  inScratch,
  replaceVm,
  restoreVm,
  warmUpRestore,
  type Hypervisor,
  type VmReplaceResult,
  type VmRestoreResult,
} from '#backup';
import { checkOutputFolder } from '../arguments/output-paths.ts';
import { cancelled } from '../cancelled.ts';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import type { PointOptions } from './options.ts';
import { neededFolder, newVmArguments } from './new-vm-arguments.ts';
import { withHypervisor } from './with-hypervisor.ts';

export type VmRestoreOptions = PointOptions & {
  readonly as?: string;
  readonly start?: boolean;
  readonly replace?: boolean;
  readonly inPlace?: boolean;
};

export async function restore(
  context: Context,
  name: string,
  options: VmRestoreOptions,
): Promise<void> {
  refuseContradictions(options);
  warmUpRestore();
  try {
    if (options.replace === true) await replace(context, name, options);
    else await restoreNew(context, name, options);
  } catch (error) {
    if (!context.signal.aborted) throw error;
    if (isHoldfastError(error) && error.details['stillThere'] !== undefined) {
      throw cancelled(error.message, error);
    }
    throw cancelled(leftOf(name, options), error);
  }
}

function leftOf(name: string, { as, replace: replaces, inPlace, dir }: VmRestoreOptions): string {
  if (inPlace === true) {
    return `the images of ${name} are incomplete where writing had begun; its safety point, which is taken before, has what was there: run it again, or put that point back`;
  }
  if (replaces === true) return `new images in ${dir} were removed, and ${name} keeps its disks`;
  const made = as === undefined ? '' : `, and no VM ${as} was made`;
  return `new images in ${dir} were removed${made}: nothing is lost, run it again`;
}

function refuseContradictions({ as, start, replace, inPlace, point }: VmRestoreOptions): void {
  if (as !== undefined && replace === true) {
    throw new UsageError('--as and --replace contradict each other: give one of them');
  }
  if (start === true && as === undefined) throw new UsageError('--start needs --as NEW-NAME');
  if (inPlace === true && replace !== true) throw new UsageError('--in-place needs --replace');
  if (replace === true && (point === undefined || point === 'latest')) {
    throw new UsageError(
      '--replace needs --point with the id of a point: the latest may be what an earlier --replace has saved',
    );
  }
}

async function restoreNew(
  context: Context,
  name: string,
  options: VmRestoreOptions,
): Promise<void> {
  const { repo: location, as } = options;
  const directory = resolve(neededFolder(options, 'where do the images go?'));
  checkOutputFolder(directory, location);
  const newVm =
    as === undefined
      ? {}
      : {
          newVm: {
            ...newVmArguments(options),
            name: as,
            lend: async <Result>(work: (hypervisor: Hypervisor) => Promise<Result>) =>
              await withHypervisor(context, options, work),
            starts: options.start === true,
            warn: context.terminal.warn,
          },
        };
  const result = await context.withRepository({ location, access: 'read' }, async (repository) => {
    const point = await findPoint(repository, options.point ?? 'latest', name);
    return await restoreVm({
      ...common(context, options),
      repository,
      point,
      directory,
      ...newVm,
    });
  });
  if (result.lacking.length > 0) {
    const what = result.lacking.join(', ');
    context.terminal.warn(`the point has not all disks of the VM: ${what} was not backed up then`);
  }
  context.terminal.result(result, () => describe(name, result));
}

async function replace(context: Context, name: string, options: VmRestoreOptions): Promise<void> {
  const { repo: location, inPlace } = options;
  const directory =
    inPlace === true
      ? undefined
      : resolve(neededFolder(options, 'where do the new images go? (or --in-place)'));
  if (directory !== undefined) checkOutputFolder(directory, location);
  const { warn } = context.terminal;
  const result = await withHypervisor(
    context,
    options,
    async (hypervisor) =>
      await context.withRepository(
        { location, access: 'own' },
        async (repository) =>
          await inScratch('/var/tmp', async (scratchDir) => {
            const point = await findPoint(repository, options.point ?? 'latest', name);
            return await replaceVm({
              ...common(context, options),
              repository,
              hypervisor,
              vm: name,
              point,
              scratchDir,
              warn,
              ...(directory === undefined ? {} : { directory }),
            });
          }),
      ),
  );
  context.terminal.result(result, () => describeReplaced(name, result));
}

function common(
  context: Context,
  { disk }: VmRestoreOptions,
): Pick<Parameters<typeof restoreVm>[0], 'clock' | 'signal' | 'onProgress' | 'disks'> {
  const { onProgress } = context.terminal;
  return {
    clock: context.surroundings.clock,
    signal: context.signal,
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(disk === undefined ? {} : { disks: disk }),
  };
}

function describe(name: string, { point, disks, seconds, vm }: VmRestoreResult): string {
  const made = vm === undefined ? '' : ` as ${vm.name}${vm.isStarted ? ', which was started' : ''}`;
  return (
    `Restored ${name}${made} from point ${point} in ${formatDuration(seconds)}.\n\n` +
    tableOf(disks)
  );
}

function describeReplaced(name: string, result: VmReplaceResult): string {
  const { point, disks, seconds, safetyPoint, oldImages, leftAlone } = result;
  const names = disks.map((disk) => disk.name).join(', ');
  const are = disks.length === 1 ? 'is' : 'are';
  const others =
    leftAlone.length === 0
      ? ''
      : ` ${leftAlone.join(', ')} ${leftAlone.length === 1 ? 'was left as it was' : 'were left as they were'}.`;
  const lines = [
    `${names} of ${name} ${are} as in point ${point} again, after ${formatDuration(seconds)}.${others}`,
    `What was there is recovery point ${safetyPoint}.`,
    '',
    tableOf(disks),
  ];
  if (oldImages.length > 0) lines.push('', `No longer used, and kept: ${oldImages.join(', ')}`);
  return lines.join('\n');
}

function tableOf(disks: VmRestoreResult['disks']): string {
  return formatTable(
    [left('DISK'), right('SIZE'), right('WRITTEN'), left('IMAGE')],
    disks.map((disk) => [disk.name, formatBytes(disk.size), formatBytes(disk.written), disk.path]),
  );
}
