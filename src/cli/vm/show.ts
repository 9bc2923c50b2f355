/** `holdfast vm show`: one VM, whether it can be backed up as it is, and what backups have left on it. */
import { lookAtGuest, unmovedBoot, type GuestSight, type Hypervisor } from '#backup';
import type { Context } from '../context.ts';
import { orderNote } from '../output/disk-order.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';
import type { ConnectOptions } from './options.ts';
import { stateText } from './state-text.ts';
import { trackingTable, trackingValue } from './tracking-table.ts';
import { withHypervisor } from './with-hypervisor.ts';

type Vm = Awaited<ReturnType<Hypervisor['find']>>;

export async function show(context: Context, name: string, options: ConnectOptions): Promise<void> {
  const sight = await withHypervisor(
    context,
    options,
    async (hypervisor) => await lookAt(context, hypervisor, name),
  );
  context.terminal.result(valueOf(sight), () => describe(sight));
}

type Sight = Awaited<ReturnType<typeof lookAt>>;

async function lookAt({ surroundings, terminal }: Context, hypervisor: Hypervisor, name: string) {
  const { clock } = surroundings;
  const vm = await hypervisor.find(name);
  const boot = await unmovedBoot(vm);
  const [guest, tracking] = await Promise.all([
    lookAtGuest(hypervisor, { vm, clock }),
    // Its images cannot be opened whole.
    boot === undefined ? hypervisor.tracking.list(vm.name, terminal.warn) : [],
  ]);
  return { vm, guest, tracking, boot, kind: hypervisor.kind };
}

function valueOf({ vm, guest, tracking, boot }: Sight): unknown {
  const { disks, networkCards, firmware, memoryBytes, hasAgentChannel: agent, ...rest } = vm;
  return {
    ...rest,
    firmware,
    ...(memoryBytes === undefined ? {} : { memory: memoryBytes }),
    agent,
    ...guestValue(guest),
    disks: disks.map(({ sizeBytes: size, ...disk }, at) => ({ ...disk, role: roleOf(at), size })),
    networkCards,
    tracking: tracking.map(trackingValue),
    ...(boot === undefined
      ? {}
      : { unfinishedBoot: { directory: boot.directory, point: boot.point } }),
  };
}

function describe(sight: Sight): string {
  const { vm, guest, tracking, boot } = sight;
  const { disks, networkCards, firmware } = vm;
  const lines = [
    `${vm.name}: ${stateText(vm)}, ${firmware === 'uefi' ? 'UEFI' : 'BIOS'}`,
    `Guest agent: ${agentText(vm, guest)}`,
    `Backup extension: ${extensionText(guest)}`,
    '',
    formatTable(
      [left('DISK'), left('ROLE'), left('FORMAT'), right('SIZE'), left('IMAGE')],
      disks.map((disk, at) => [
        disk.name,
        roleOf(at),
        disk.format,
        formatBytes(disk.sizeBytes),
        disk.location,
      ]),
    ),
    ...networkCards.map(
      ({ mac, model, network }) =>
        `Network card ${mac}${model === undefined ? '' : ` (${model})`} on ${network ?? 'nothing'}`,
    ),
  ];
  if (boot !== undefined)
    return [...lines, '', `It cannot be backed up now: ${boot.text}.`].join('\n');
  lines.push(...diskNotes(sight), '');
  if (tracking.length === 0) lines.push('No backup follows its changes: the next one reads all.');
  else lines.push('Backups follow its changes:', '', trackingTable(tracking));
  return lines.join('\n');
}

function diskNotes({ vm: { name, disks }, kind }: Sight): readonly string[] {
  const refused = disks.flatMap((disk) =>
    disk.refusal === undefined ? [] : [`${disk.name} cannot be backed up: ${disk.refusal}`],
  );
  const names = disks.map((disk) => disk.name);
  const order = kind === 'images' ? orderNote(name, names) : undefined;
  return order === undefined ? refused : [...refused, order];
}

/** The first disk is taken for the one that the VM boots from. */
function roleOf(at: number): 'system' | 'data' {
  return at === 0 ? 'system' : 'data';
}

/** Null: it is not known, as the VM does not run or the agent does not answer. */
function guestValue(guest: GuestSight): Record<string, unknown> {
  if (guest === undefined) return { agentAnswers: null, extension: null };
  if (guest.agent === 'silent') {
    return { agentAnswers: false, agentReason: guest.reason, extension: null };
  }
  const { isFrozen, extension } = guest;
  const { files: _, ...state } = extension ?? { files: [] };
  return {
    agentAnswers: true,
    frozen: isFrozen,
    extension: extension === undefined ? null : state,
  };
}

function agentText(vm: Vm, guest: GuestSight): string {
  if (vm.state !== 'running') return `– (the VM is ${vm.state})`;
  if (guest === undefined) {
    return 'no channel to one, so points will be crash-consistent; with qmp: name its socket (agent=PATH)';
  }
  if (guest.agent === 'silent') {
    return `does not answer, so points will be crash-consistent: is qemu-guest-agent installed and running in the guest? (${guest.reason})`;
  }
  return guest.isFrozen ? 'answers; the file systems are frozen now' : 'answers';
}

function extensionText(guest: GuestSight): string {
  if (guest?.agent !== 'answers') return '–';
  const { extension } = guest;
  if (extension === undefined) return '– (the agent does not tell)';
  const { name, version, state, fault } = extension;
  if (state === 'absent') return 'none yet; the next backup installs it';
  return `${name} ${version}, ${state}${fault === undefined ? '' : `: ${fault}`}`;
}
