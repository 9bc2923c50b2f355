/** Which disks of a VM its item backs up (R73). */
import type { HostVm } from '../hosts/vms.ts';
import { isSelected } from '../items/disk-selection.ts';
import type { Item } from '../items/items.ts';

/** Their names. */
export function selectedDisks(vm: HostVm, item: Item): readonly string[] {
  return vm.facts.disks
    .filter(({ lun }) => isSelected(item.diskSelection, lun))
    .map(({ name }) => name);
}
