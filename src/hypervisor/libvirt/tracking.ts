/**
 * The checkpoints and bitmaps of backups on a domain (`VmTracking`): bitmaps of a running VM by its checkpoints and
 * what its images had when it started; of one that is off by its images, and checkpoints as libvirt remembers them.
 */
import { isHoldfastError } from '#base';
import { parseBitmapName } from '../bitmap-name.ts';
import { listOfflineTracking, removeOfflineTracking } from '../offline/tracking.ts';
import type { Vm } from '../vm.ts';
import { backingMarks } from '../backing-marks.ts';
import { isRemovable, markOf, type TrackingMark } from '../vm-tracking.ts';
import {
  checkpointNames,
  deleteCheckpoint,
  deleteStrayBitmaps,
  forgetCheckpoint,
  readCheckpoint,
} from './checkpoints.ts';
import { findDomain, type Domain } from './domain.ts';
import { readImageFacts } from './image-facts.ts';
import { claimDomain } from './jobs.ts';
import type { LibvirtParts } from './online-backup.ts';
import type { Virsh } from './virsh.ts';

type Warn = (message: string) => void;

const NO_BITMAP =
  'its bitmap is missing or broken: QEMU or the host was killed, or the image was replaced';
const NO_CHECKPOINT =
  'libvirt has no checkpoint for it: the next backup makes it anew, or removes it';

export async function listTracking(
  { virsh }: LibvirtParts,
  vm: string,
  warn: Warn,
): Promise<readonly TrackingMark[]> {
  return (await find(virsh, await findDomain(virsh, vm), warn)).all;
}

export async function removeTracking(
  parts: LibvirtParts,
  request: { readonly vm: string; readonly repositoryId: string | undefined; readonly warn: Warn },
): Promise<readonly TrackingMark[]> {
  const { vm, repositoryId, warn } = request;
  const domain = await findDomain(parts.virsh, vm);
  const isOff = domain.state === 'off';
  const scope = { virsh: parts.virsh, uuid: domain.uuid };
  if (!isOff) await claimDomain({ ...parts, warn }, domain);
  const { all, ofCheckpoints } = await find(parts.virsh, domain, warn);
  const marks = all.filter((mark) => isRemovable(mark, repositoryId));
  if (isOff) await removeOfflineTracking(domain.vm, repositoryId, () => {}); // `find` has told.
  for (const name of new Set(marks.map((mark) => mark.name))) {
    const ofName = marks.filter((mark) => mark.name === name);
    const strays = ofName.filter((mark) => !ofCheckpoints.includes(mark));
    if (strays.length < ofName.length) {
      await (isOff ? forgetCheckpoint(scope, name) : deleteCheckpoint(scope, name));
    }
    if (strays.length > 0 && !isOff) {
      await deleteStrayBitmaps(scope, { name, disks: strays.map(({ disk }) => disk) });
    }
  }
  return marks;
}

type Found = {
  readonly all: readonly TrackingMark[];
  /** Those that libvirt knows. */
  readonly ofCheckpoints: readonly TrackingMark[];
};

async function find(virsh: Virsh, domain: Domain, warn: Warn): Promise<Found> {
  const scope = { virsh, uuid: domain.uuid };
  const isRunning = domain.state !== 'off';
  const inImages = isRunning
    ? await listStored(domain.vm, warn)
    : await listOfflineTracking(domain.vm, warn);
  const ofCheckpoints: TrackingMark[] = [];
  for (const name of await checkpointNames(scope)) {
    if (parseBitmapName(name) === undefined) continue;
    const { disks, validDisks } = await readCheckpoint(scope, name, { isRunning });
    for (const disk of disks) {
      const inImage = inImages.find(
        (mark) => isOwn(mark) && mark.name === name && mark.disk === disk,
      );
      const fault = isRunning ? onFault(validDisks.has(disk)) : offFault(inImage);
      ofCheckpoints.push(markOf(name, disk, fault)!);
    }
  }
  const isKnown = (found: TrackingMark): boolean =>
    isOwn(found) &&
    ofCheckpoints.some((mark) => mark.name === found.name && mark.disk === found.disk);
  return { all: [...ofCheckpoints, ...inImages.filter((mark) => !isKnown(mark))], ofCheckpoints };
}

function isOwn({ backingImage }: TrackingMark): boolean {
  return backingImage === undefined;
}

function offFault(inImage: TrackingMark | undefined): string | undefined {
  return inImage === undefined ? NO_BITMAP : inImage.fault;
}

function onFault(isValid: boolean): string | undefined {
  return isValid ? undefined : NO_BITMAP;
}

/** What the images had when the VM started: all that is there, of bitmaps that have no checkpoint. */
async function listStored(vm: Vm, warn: Warn): Promise<readonly TrackingMark[]> {
  const marks: (TrackingMark | undefined)[] = [];
  for (const disk of vm.disks) {
    if (disk.format !== 'qcow2') continue; // No other format has any.
    try {
      const { bitmaps, backings } = await readImageFacts(disk);
      marks.push(...bitmaps.map((name) => markOf(name, disk.name, NO_CHECKPOINT)));
      marks.push(...backingMarks(disk.name, backings));
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      warn(`disk ${disk.name} cannot be looked at: ${error.message}`);
    }
  }
  return marks.filter((mark) => mark !== undefined);
}
