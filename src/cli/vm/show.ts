/** `holdfast vm show`: one VM, and whether it can be backed up as it is. */
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';
import type { ConnectOptions } from './options.ts';
import { stateText } from './state-text.ts';
import { withHypervisor } from './with-hypervisor.ts';

export async function show(context: Context, name: string, options: ConnectOptions): Promise<void> {
  const vm = await withHypervisor(
    context,
    options,
    async (hypervisor) => await hypervisor.find(name),
  );
  const { disks, networkCards, firmware, hasAgentChannel: agent, ...rest } = vm;
  const shown = {
    ...rest,
    firmware,
    agent,
    disks: disks.map(({ sizeBytes: size, ...disk }) => ({ ...disk, size })),
    networkCards,
  };
  context.terminal.result(shown, () => {
    const lines = [
      `${vm.name}: ${stateText(vm)}, ${firmware === 'uefi' ? 'UEFI' : 'BIOS'}`,
      agent
        ? 'A guest agent can be asked to quiesce it.'
        : 'There is no channel to a guest agent: points will be crash-consistent.',
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
    for (const disk of disks) {
      if (disk.refusal !== undefined)
        lines.push(`${disk.name} cannot be backed up: ${disk.refusal}`);
    }
    return lines.join('\n');
  });
}
