/** `holdfast vm backup`: takes a recovery point of a VM. */
import { HoldfastError } from '#base';
import {
  backUpVm,
  contactVm,
  inScratch,
  warmUpBackup,
  type Hypervisor,
  type VmBackupResult,
  type VmContact,
} from '#backup';
import { parseItemName } from '../arguments/item-name.ts';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration, formatSpeed } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import type { ConnectOptions } from './options.ts';
import { FailedAfterSteps, type Steps } from './failed-after-steps.ts';
import { guestLoadOf, type GuestLoadOptions } from './guest-load.ts';
import { openHypervisor } from './with-hypervisor.ts';

export type VmBackupOptions = ConnectOptions &
  GuestLoadOptions & {
    readonly repo: string;
    readonly item?: string;
    readonly disk?: readonly string[];
    readonly excludeDisk?: readonly string[];
    readonly quiesce: boolean;
    readonly scratch: string;
  };

type QuiesceStep = Steps[number];

export async function backup(
  context: Context,
  name: string,
  options: VmBackupOptions,
): Promise<void> {
  const { disk, excludeDisk, quiesce, scratch, repo: location } = options;
  const item = options.item === undefined ? undefined : parseItemName(options.item);
  if (disk !== undefined && excludeDisk !== undefined) {
    throw new UsageError('--disk and --exclude-disk contradict each other: give one of them');
  }
  const guestLoad = guestLoadOf(options);
  const { clock } = context.surroundings;
  const { onProgress, warn } = context.terminal;
  warmUpBackup();
  const steps: QuiesceStep[] = [];
  const onStep = (step: QuiesceStep): void => void steps.push(step);
  const reaching = reachVm(context, name, options);
  const work = afterReaching(reaching, async () =>
    context.withRepository({ location, access: 'own' }, async (repository) => {
      const { hypervisor, disks, contact } = await reaching;
      return await inScratch(scratch, async (scratchDir) =>
        backUpVm({
          repository,
          hypervisor,
          vm: name,
          contact,
          ...(item === undefined ? {} : { item }),
          ...(disks === undefined ? {} : { disks }),
          scratchDir,
          quiesces: quiesce,
          ...guestLoad,
          clock,
          signal: context.signal,
          warn,
          onStep,
          ...(onProgress === undefined ? {} : { onProgress }),
        }),
      );
    }),
  );
  const result = await work.catch((error: unknown) => {
    throw steps.length === 0 ? error : new FailedAfterSteps(error, steps);
  });
  context.terminal.result(result, () => describe(item ?? name, result));
}

type Reached = {
  readonly hypervisor: Hypervisor;
  readonly contact: VmContact;
  /** Undefined: all. */
  readonly disks: readonly string[] | undefined;
};

/** Up to the first contact with the guest: beside the opening of the repository, which derives a key first. */
async function reachVm(context: Context, name: string, options: VmBackupOptions): Promise<Reached> {
  const { clock } = context.surroundings;
  const hypervisor = await openHypervisor(context, options);
  let contact: VmContact | undefined;
  try {
    contact = await contactVm({ hypervisor, vm: name, quiesces: options.quiesce, clock });
    return { hypervisor, contact, disks: chosenDisks(contact.vm, options) };
  } catch (error) {
    await contact?.close();
    await hypervisor.close();
    throw error;
  }
}

/** Runs `work` meanwhile, and leaves the VM whatever happens. That it was not reached counts more than another error. */
async function afterReaching<Result>(
  reaching: Promise<Reached>,
  work: () => Promise<Result>,
): Promise<Result> {
  const [reached, worked] = await Promise.allSettled([reaching, work()]);
  if (reached.status === 'rejected') throw reached.reason;
  try {
    await reached.value.contact.close();
  } finally {
    await reached.value.hypervisor.close();
  }
  if (worked.status === 'rejected') throw worked.reason;
  return worked.value;
}

/** Undefined: all. */
function chosenDisks(
  { name, disks }: VmContact['vm'],
  { disk, excludeDisk }: VmBackupOptions,
): readonly string[] | undefined {
  if (disk === undefined && excludeDisk === undefined) return undefined;
  const there = disks.map((known) => known.name);
  const stranger = [...(disk ?? []), ...(excludeDisk ?? [])].find(
    (wanted) => !there.includes(wanted),
  );
  if (stranger !== undefined) {
    throw new HoldfastError(
      'DiskNotFound',
      `${name} has no disk ${stranger}; it has ${there.join(', ')}`,
      { details: { disk: stranger } },
    );
  }
  const chosen = disk ?? there.filter((known) => excludeDisk?.includes(known) !== true);
  if (chosen.length === 0) throw new UsageError('--exclude-disk leaves no disk to back up');
  return chosen;
}

const CONSISTENCY: Readonly<Record<VmBackupResult['consistency'], string>> = {
  AppConsistent: 'application-consistent',
  FileSystemConsistent: 'file-system-consistent',
  CrashConsistent: 'crash-consistent',
};

function describe(item: string, result: VmBackupResult): string {
  const { pointId, disks, seconds, consistency, frozenMs } = result;
  const readBytes = disks.reduce((sum, { read }) => sum + read, 0);
  const transfer = result.tasks.find((task) => task.name === 'Transfer data to vault')!;
  const speed = readBytes === 0 ? '' : ` (read at ${formatSpeed(readBytes, transfer.seconds)})`;
  const frozen = frozenMs === undefined ? '' : `, frozen for ${Math.round(frozenMs)} ms`;
  const table = formatTable(
    [
      left('DISK'),
      ...['SIZE', 'READ', 'CHANGED', 'ADDED TO REPOSITORY'].map(right),
      left('CHANGES FOUND BY'),
    ],
    disks.map(({ name, size, read, changed, stored, tracking }) => [
      name,
      ...[size, read, changed, stored].map(formatBytes),
      HOW[tracking],
    ]),
  );
  const reasons = disks.flatMap(({ name, reason }) =>
    reason === undefined ? [] : [`${name} was compared as a whole: ${reason}`],
  );
  // A step that failed was told as a warning.
  const skipped = result.steps.flatMap(({ name, outcome, message }) =>
    ['Contact guest agent', 'Guest load'].includes(name) && outcome === 'skipped'
      ? [capitalised(message)]
      : [],
  );
  return [
    `Recovery point ${pointId} of ${item}, ${CONSISTENCY[consistency]}${frozen}, taken in ` +
      `${formatDuration(seconds)}${speed}.\n\n${table}`,
    ...reasons,
    ...skipped,
  ].join('\n');
}

function capitalised(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

const HOW: Readonly<Record<VmBackupResult['disks'][number]['tracking'], string>> = {
  bitmap: 'bitmap',
  compare: 'comparison',
  initial: 'first copy',
};
