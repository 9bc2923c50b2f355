/** `holdfast vm backup --group`: takes recovery points of several VMs at one instant. */
import { HoldfastError } from '#base';
import {
  backUpVms,
  inScratch,
  warmUpBackup,
  type GroupBackupResult,
  type GroupMember,
  type Hypervisor,
} from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import type { VmBackupOptions } from './backup.ts';
import { FailedAfterSteps, type Steps } from './failed-after-steps.ts';
import { guestLoadOf } from './guest-load.ts';
import { openHypervisor } from './with-hypervisor.ts';

export type GroupOptions = Omit<VmBackupOptions, 'connect'> & {
  readonly connect: readonly string[];
};

export async function backUpGroup(
  context: Context,
  names: readonly string[],
  options: GroupOptions,
): Promise<void> {
  refuseSingle(names, options);
  const guestLoad = guestLoadOf(options);
  const { onProgress, warn } = context.terminal;
  warmUpBackup();
  const steps: Steps[number][] = [];
  const backUp = async (members: readonly GroupMember[]): Promise<GroupBackupResult> =>
    await context.withRepository(
      { location: options.repo, access: 'own' },
      async (repository) =>
        await inScratch(options.scratch, async (scratchDir) =>
          backUpVms({
            repository,
            members,
            scratchDir,
            quiesces: options.quiesce,
            ...guestLoad,
            clock: context.surroundings.clock,
            signal: context.signal,
            warn,
            onStep: (vm, step) => void steps.push({ ...step, name: `${vm}: ${step.name}` }),
            ...(onProgress === undefined ? {} : { onProgress }),
          }),
        ),
    );
  try {
    const result = await withVms(context, { names, uris: options.connect }, backUp);
    context.terminal.result(result, () => describe(result));
  } catch (error) {
    throw steps.length === 0 ? error : new FailedAfterSteps(error, steps);
  }
}

function refuseSingle(names: readonly string[], { item, disk, excludeDisk }: GroupOptions): void {
  if (names.length < 2) throw new UsageError('--group takes two VMs or more');
  if ([item, disk, excludeDisk].some((one) => one !== undefined)) {
    throw new UsageError('--item, --disk and --exclude-disk are of one VM: not with --group');
  }
}

/** Lends each VM with the hypervisor that has it, and closes all of them, whatever happens. */
async function withVms<Result>(
  context: Context,
  { names, uris }: { readonly names: readonly string[]; readonly uris: readonly string[] },
  use: (members: readonly GroupMember[]) => Promise<Result>,
): Promise<Result> {
  const opened: { readonly hypervisor: Hypervisor; readonly names: readonly string[] }[] = [];
  try {
    for (const connect of uris) {
      const hypervisor = await openHypervisor(context, { connect });
      opened.push({ hypervisor, names: [] });
      const there = (await hypervisor.list()).map(({ name }) => name);
      opened.splice(-1, 1, { hypervisor, names: there });
    }
    return await use(
      names.map((vm) => {
        const places = opened.filter((place) => place.names.includes(vm));
        if (places.length === 1) return { vm, hypervisor: places[0]!.hypervisor };
        const there = opened.flatMap((place) => place.names).join(', ');
        const why =
          places.length > 1
            ? `"${vm}" is at ${places.map(({ hypervisor }) => hypervisor.uri).join(' and at ')}: give one --connect fewer`
            : `there is no VM "${vm}" at ${uris.join(', ')}; there ${there === '' ? 'is none' : `are ${there}`}`;
        throw new HoldfastError(places.length > 1 ? 'ArgumentInvalid' : 'VmNotFound', why, {
          details: { vm },
        });
      }),
    );
  } finally {
    for (const { hypervisor } of opened) await hypervisor.close();
  }
}

function describe({ members, seconds }: GroupBackupResult): string {
  const rows = members.map(({ item, pointId, consistency, frozenMs, disks }) => [
    item,
    pointId,
    consistency,
    frozenMs === undefined ? '' : `${Math.round(frozenMs)} ms`,
    ...(['read', 'changed', 'stored'] as const).map((of) =>
      formatBytes(disks.reduce((sum, disk) => sum + disk[of], 0)),
    ),
  ]);
  const columns = [
    ...['ITEM', 'POINT', 'CONSISTENCY'].map(left),
    ...['FROZEN', 'READ', 'CHANGED', 'ADDED TO REPOSITORY'].map(right),
  ];
  const reasons = members.flatMap(({ item, disks }) =>
    disks.flatMap(({ name, reason }) =>
      reason === undefined ? [] : [`${item}: ${name} was compared as a whole: ${reason}`],
    ),
  );
  const head = `Recovery points of ${members.length} VMs at one instant, taken in ${formatDuration(seconds)}.`;
  return [`${head}\n\n${formatTable(columns, rows)}`, ...reasons].join('\n');
}
