/** The dirty bitmaps in images of a VM that is off (`VmTracking`). */
import { isHoldfastError } from '#base';
import { inspectTop, type QemuBitmap, type TopImage } from '#disk';
import type { Vm } from '../vm.ts';
import { backingMarks } from '../backing-marks.ts';
import { isRemovable, markOf, type TrackingMark, type VmTracking } from '../vm-tracking.ts';
import { removeBitmap } from './image-bitmaps.ts';

type Warn = (message: string) => void;
type Found = { readonly mark: TrackingMark; readonly image: TopImage };

const MAX_CHAIN = 64;

/** Of VMs that are off, which `find` describes. */
export function offlineTracking(find: (name: string) => Promise<Vm>): VmTracking {
  return {
    list: async (name, warn) => await listOfflineTracking(await find(name), warn),
    remove: async (name, repositoryId, warn) =>
      await removeOfflineTracking(await find(name), repositoryId, warn),
  };
}

export async function listOfflineTracking(vm: Vm, warn: Warn): Promise<readonly TrackingMark[]> {
  return (await find(vm, warn)).map(({ mark }) => mark);
}

/** @throws {HoldfastError} `DiskInUse` if an image is open. */
export async function removeOfflineTracking(
  vm: Vm,
  repositoryId: string | undefined,
  warn: Warn,
): Promise<readonly TrackingMark[]> {
  const found = (await find(vm, warn)).filter(({ mark }) => isRemovable(mark, repositoryId));
  for (const { mark, image } of found) await removeBitmap(image, mark.name);
  return found.map(({ mark }) => mark);
}

async function find(vm: Vm, warn: Warn): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const { name: disk, format, location } of vm.disks) {
    if (format !== 'qcow2') continue; // No other format has any.
    try {
      const image = await inspectTop({ path: location, format });
      for (const bitmap of image.asQemuSays['format-specific']?.data?.bitmaps ?? []) {
        const mark = markOf(bitmap.name, disk, faultOf(bitmap, image.isInUse));
        if (mark !== undefined) found.push({ mark, image });
      }
      const below = backingMarks(disk, await backingsOf(image));
      found.push(...below.map((mark) => ({ mark, image })));
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      warn(`disk ${disk} cannot be looked at: ${error.message}`);
    }
  }
  return found;
}

/** As far as they can be read: whether the VM can do without, others say. */
async function backingsOf({ asQemuSays }: TopImage) {
  const backings: QemuBacking[] = [];
  let path = backingOf(asQemuSays);
  while (path !== undefined && backings.length < MAX_CHAIN) {
    try {
      const image = await inspectTop({ path, format: 'qcow2' });
      backings.push({ ...image.asQemuSays, filename: path });
      path = backingOf(image.asQemuSays);
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      return backings;
    }
  }
  return backings;
}

type QemuBacking = TopImage['asQemuSays'] & { readonly filename: string };

/** Undefined: it has none that may hold bitmaps. */
function backingOf(image: TopImage['asQemuSays']): string | undefined {
  if (image['backing-filename-format'] !== 'qcow2') return undefined;
  const path = image['full-backing-filename'] ?? image['backing-filename'];
  return path?.startsWith('/') === true ? path : undefined;
}

function faultOf({ flags }: QemuBitmap, isOpen: boolean): string | undefined {
  if (flags.includes('in-use')) {
    return isOpen ? 'in use by a QEMU that runs' : 'inconsistent: QEMU or its host was killed';
  }
  return flags.includes('auto') ? undefined : 'disabled: a backup is running, or was killed';
}
