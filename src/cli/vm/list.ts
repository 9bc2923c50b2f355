/** `holdfast vm list`: the VMs of a hypervisor. */
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import type { ConnectOptions } from './options.ts';
import { withHypervisor } from './with-hypervisor.ts';

export async function list(context: Context, options: ConnectOptions): Promise<void> {
  const vms = await withHypervisor(context, options, async (hypervisor) => await hypervisor.list());
  const shown = vms.map(({ name, uuid, state, disks }) => ({
    name,
    ...(uuid === undefined ? {} : { uuid }),
    state,
    disks: disks.map((disk) => ({ name: disk.name, size: disk.sizeBytes, format: disk.format })),
  }));
  context.terminal.result({ vms: shown }, () => {
    if (vms.length === 0) return `There are no VMs at ${options.connect}.`;
    return formatTable(
      [left('VM'), left('STATE'), left('DISKS'), right('SIZE')],
      vms.map(({ name, state, disks }) => [
        name,
        state,
        disks.length === 0
          ? 'none'
          : disks.map((disk) => `${disk.name} (${disk.format})`).join(', '),
        formatBytes(disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
      ]),
    ).concat(`\n\n${formatCount(vms.length, 'VM')} at ${options.connect}.`);
  });
}
