/** `holdfast vm list`: the VMs of a hypervisor. */
import { stat } from 'node:fs/promises';
import { HoldfastError } from '#base';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import type { ConnectOptions } from './options.ts';
import { stateText } from './state-text.ts';
import { withHypervisor } from './with-hypervisor.ts';

export async function list(context: Context, options: ConnectOptions): Promise<void> {
  const vms = await withHypervisor(context, options, async (hypervisor) => {
    const found = await hypervisor.list();
    if (found.length > 0 || hypervisor.kind !== 'qemu') return found;
    // A host may be without VMs; a socket is one VM's.
    throw new HoldfastError(
      'HypervisorUnavailable',
      `no QEMU listens at ${options.connect}: start the VM with -qmp unix:PATH,server=on,wait=off, correct the path, or name the folder of its images (images:/folder)`,
    );
  });
  const missing = await missingImages(vms.flatMap(({ disks }) => disks));
  const shown = vms.map(({ name, uuid, state, hasSavedMemory, disks }) => ({
    name,
    ...(uuid === undefined ? {} : { uuid }),
    state,
    ...(hasSavedMemory === undefined ? {} : { hasSavedMemory }),
    disks: disks.map((disk) => ({
      name: disk.name,
      size: disk.sizeBytes,
      format: disk.format,
      ...(missing.has(disk.location) ? { imageMissing: true } : {}),
    })),
  }));
  context.terminal.result({ vms: shown }, () => {
    if (vms.length === 0) return `There are no VMs at ${options.connect}.`;
    return formatTable(
      [left('VM'), left('STATE'), left('DISKS'), right('SIZE')],
      vms.map((vm) => [
        vm.name,
        stateText(vm),
        vm.disks.length === 0
          ? 'none'
          : vm.disks
              .map(({ name, format, location }) =>
                missing.has(location) ? `${name} (image missing)` : `${name} (${format})`,
              )
              .join(', '),
        formatBytes(vm.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
      ]),
    ).concat(`\n\n${formatCount(vms.length, 'VM')} at ${options.connect}.`);
  });
}

/** Of paths of images, those at which there is no file. */
async function missingImages(
  disks: readonly { readonly location: string }[],
): Promise<ReadonlySet<string>> {
  const missing = new Set<string>();
  for (const { location } of disks.filter((disk) => disk.location.startsWith('/'))) {
    await stat(location).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') missing.add(location);
    });
  }
  return missing;
}
