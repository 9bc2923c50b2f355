/**
 * Whether a VM is the one whose points an item has: by its name alone another VM may come into the item, whose points
 * `latest` and expiry then take for points of the same VM. That is allowed (rule R56: a VM may be made anew), and said.
 */
import type { Hypervisor, Vm } from '#hypervisor';
import type { VmNote } from './vm-note.ts';

/** The newest point of an item. */
export type NewestPoint = {
  readonly point: string;
  /** Names of its disks. */
  readonly disks: readonly string[];
  /** Undefined: it is no point of a VM, or cannot be read. */
  readonly note: VmNote | undefined;
};

type Now = { readonly vm: Vm; readonly kind: Hypervisor['kind']; readonly item: string };

/** In whole sentences, what the VM's owner should know before its next point goes into the item; mostly nothing. */
export function oddities(newest: NewestPoint | undefined, now: Now): readonly string[] {
  if (newest === undefined) return [];
  const difference = differenceOf(newest, now);
  if (difference !== undefined) {
    return [
      `the newest point ${newest.point} of the item ${now.item} may be of another VM: ${difference}; points of both will be listed and expire together, so if it is another, back it up with --item OTHER`,
    ];
  }
  const gone = newest.disks.filter((name) => !has(now.vm, name));
  if (gone.length === 0) return [];
  return [
    `${gone.join(', ')} of the newest point ${newest.point} is not in ${now.vm.name} any more: only points up to that one have it`,
  ];
}

function differenceOf({ disks, note }: NewestPoint, { vm, kind }: Now): string | undefined {
  const before = note?.definition;
  const uuid = before?.vm.uuid;
  if (uuid !== undefined && vm.uuid !== undefined && uuid !== vm.uuid) {
    return `its UUID is ${uuid}, and that of ${vm.name} is ${vm.uuid}`;
  }
  if (before !== undefined && before.hypervisor !== kind) {
    return `it was taken from ${SOURCE[before.hypervisor]}, and ${vm.name} is of ${SOURCE[kind]}`;
  }
  if (!disks.some((name) => has(vm, name))) {
    return `it has the disks ${disks.join(', ')}, and ${vm.name} has ${vm.disks.map(({ name }) => name).join(', ')}`;
  }
  return kind === 'images' && note !== undefined ? otherImages(note, vm) : undefined;
}

/** Put back to new images a VM is the same one; the point before that is a safety point. */
function otherImages(note: VmNote, vm: Vm): string | undefined {
  if (note.safetyBefore !== undefined) return undefined;
  const places = note.definition.vm.disks.map(({ location }) => location);
  if (vm.disks.some(({ location }) => places.includes(location))) return undefined;
  return `its images were ${places.join(', ')}`;
}

const SOURCE: Readonly<Record<Hypervisor['kind'], string>> = {
  qemu: 'QEMU',
  libvirt: 'libvirt',
  images: 'a folder of images',
};

function has({ disks }: Vm, name: string): boolean {
  return disks.some((disk) => disk.name === name);
}
