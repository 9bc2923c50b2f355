/** `holdfast vm show`: one VM, whether it can be backed up as it is, and what backups have left on it. */
import { lookAtGuest, unmovedBoot, type GuestSight, type Hypervisor } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';
import type { ConnectOptions } from './options.ts';
import { stateText } from './state-text.ts';
import { trackingTable, trackingValue } from './tracking-table.ts';
import { withHypervisor } from './with-hypervisor.ts';

type Vm = Awaited<ReturnType<Hypervisor['find']>>;

export async function show(context: Context, name: string, options: ConnectOptions): Promise<void> {
  const { clock } = context.surroundings;
  const { warn } = context.terminal;
  const { vm, guest, tracking, boot } = await withHypervisor(
    context,
    options,
    async (hypervisor) => {
      const found = await hypervisor.find(name);
      const unmoved = await unmovedBoot(found);
      const [sight, marks] = await Promise.all([
        lookAtGuest(hypervisor, { vm: found, clock }),
        // Its images cannot be opened whole.
        unmoved === undefined ? hypervisor.tracking.list(found.name, warn) : [],
      ]);
      return { vm: found, guest: sight, tracking: marks, boot: unmoved };
    },
  );
  const { disks, networkCards, firmware, hasAgentChannel: agent, ...rest } = vm;
  const shown = {
    ...rest,
    firmware,
    agent,
    ...guestValue(guest),
    disks: disks.map(({ sizeBytes: size, ...disk }) => ({ ...disk, size })),
    networkCards,
    tracking: tracking.map(trackingValue),
    ...(boot === undefined
      ? {}
      : { unfinishedBoot: { directory: boot.directory, point: boot.point } }),
  };
  context.terminal.result(shown, () => {
    const lines = [
      `${vm.name}: ${stateText(vm)}, ${firmware === 'uefi' ? 'UEFI' : 'BIOS'}`,
      `Guest agent: ${agentText(vm, guest)}`,
      `Backup extension: ${extensionText(guest)}`,
      '',
      formatTable(
        [left('DISK'), left('FORMAT'), right('SIZE'), left('IMAGE')],
        disks.map((disk) => [disk.name, disk.format, formatBytes(disk.sizeBytes), disk.location]),
      ),
    ];
    for (const { mac, model, network } of networkCards) {
      lines.push(
        `Network card ${mac}${model === undefined ? '' : ` (${model})`} on ${network ?? 'nothing'}`,
      );
    }
    if (boot !== undefined)
      return [...lines, '', `It cannot be backed up now: ${boot.text}.`].join('\n');
    for (const disk of disks) {
      if (disk.refusal !== undefined)
        lines.push(`${disk.name} cannot be backed up: ${disk.refusal}`);
    }
    lines.push('');
    if (tracking.length === 0) lines.push('No backup follows its changes: the next one reads all.');
    else lines.push('Backups follow its changes:', '', trackingTable(tracking));
    return lines.join('\n');
  });
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
