/** One disk of a VM that is off: what its image is, how its changes will be found, what was repaired. */
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { inspectImage, useOf, type InspectedImage, type QemuBitmap } from '#disk';
import { formatBitmapName } from '../bitmap-name.ts';
import type { PreparedDisk, PrepareRequest } from '../hypervisor.ts';
import { imageFingerprint, type QemuImageInfo } from '../image-fingerprint.ts';
import { imageIdentity } from '../image-identity.ts';
import type { VmDisk } from '../vm.ts';
import { planOfflineBitmaps, type OfflineBitmapPlan } from './bitmap-plan.ts';
import { mergeBitmaps, removeBitmap } from './image-bitmaps.ts';

export type OfflineOptions = {
  /** Bitmaps are only read: they are a hypervisor's own, which keeps books of them. */
  readonly keepsBitmaps?: boolean;
  /** Backing files outside of an image's own folder that the operator named. */
  readonly allowedFiles?: readonly string[];
  /** Backing files may lie anywhere. */
  readonly allowOutside?: boolean;
};

export type OfflineDisk = PreparedDisk & {
  readonly image: InspectedImage;
  /** Names of the bitmaps whose union counts; empty unless tracking is `bitmap`. */
  readonly counting: readonly string[];
  /** To remove when the point is committed. */
  readonly replaced: readonly string[];
  /** The one to begin; undefined where `untracked` says why. */
  readonly newBitmap: string | undefined;
};

/** Of a bitmap, beside its bits: up to a cluster of 2 MiB begun, table and directory. */
const TABLES_BYTES = 4 * 1024 * 1024;

/**
 * Looks at the image and removes what a backup that died left in it.
 *
 * @throws {HoldfastError} `DiskInUse`, `DiskNotFound`, `DiskUnsupported`, `DiskUnavailable`.
 */
export async function prepareOfflineDisk(
  disk: VmDisk,
  request: Pick<PrepareRequest, 'tracking' | 'warn' | 'vm'>,
  options: OfflineOptions,
): Promise<OfflineDisk> {
  const image = await inspect(disk, options);
  const { repositoryId, point, bases, otherBases } = request.tracking;
  const fingerprint = imageFingerprint(nested(image), await imageIdentity(disk.location));
  const known = bases.get(disk.name) ?? [];
  const obstacle = await obstacleTo(image, request.tracking.blockSize);
  const plan = planOfflineBitmaps(
    { bitmaps: bitmapsOf(image), fingerprint },
    { repositoryId, bases: known, otherBases },
  );
  const keeps = options.keepsBitmaps === true;
  const isReadOnly = keeps || obstacle !== undefined;
  const counting = isReadOnly ? plan.counting : await repair(image, plan, request);
  const untracked = keeps ? 'a VM that is off gets no checkpoint' : obstacle;
  const newBitmap = isReadOnly ? undefined : formatBitmapName({ repositoryId, point });
  return {
    name: disk.name,
    sizeBytes: image.sizeBytes,
    tracking:
      plan.tracking.kind === 'compare' && image.format !== 'qcow2'
        ? { kind: 'compare', reason: keepsNone(image) }
        : plan.tracking,
    fingerprint,
    ...(untracked === undefined ? {} : { untracked }),
    image,
    counting,
    replaced: isReadOnly ? [] : plan.replaced,
    newBitmap,
  };
}

async function inspect(disk: VmDisk, options: OfflineOptions): Promise<InspectedImage> {
  const { allowedFiles = [], allowOutside = false } = options;
  if (disk.refusal !== undefined && !isAbsolute(disk.location))
    throw unsupported(disk, disk.refusal);
  let image: InspectedImage;
  try {
    image = await inspectImage(
      { path: disk.location, format: disk.format },
      { allowedFiles, allowOutside },
    );
  } catch (error) {
    if (!isHoldfastError(error, 'DiskFormatUnsupported')) throw error;
    throw unsupported(disk, disk.refusal ?? error.message, error);
  }
  if (image.isInUse) {
    throw new HoldfastError(
      'DiskInUse',
      `disk ${disk.name}, "${disk.location}", is ${useOf(disk.location)}`,
      { details: { disk: disk.name, path: disk.location } },
    );
  }
  if (disk.refusal !== undefined) throw unsupported(disk, disk.refusal);
  return image;
}

function unsupported(disk: VmDisk, reason: string, cause?: Error): HoldfastError {
  return new HoldfastError(
    'DiskUnsupported',
    `disk ${disk.name} cannot be backed up: ${reason}; or leave it out`,
    { cause, details: { disk: disk.name, path: disk.location } },
  );
}

/** Merges what was left of a killed backup into the bitmaps that need it. The bitmaps that count now. */
async function repair(
  image: InspectedImage,
  { counting, merges, leftovers }: OfflineBitmapPlan,
  { warn }: Pick<PrepareRequest, 'warn'>,
): Promise<readonly string[]> {
  for (const merge of merges) await mergeBitmaps(image, merge);
  for (const name of leftovers) await removeBitmap(image, name);
  if (merges.length > 0) {
    warn(`"${image.path}": a backup was killed before its commit: its bitmap was merged back`);
  }
  return counting.filter((name) => !leftovers.includes(name));
}

/** Why no bitmap can be stored in the image; undefined: one can. */
async function obstacleTo(image: InspectedImage, blockSize: number): Promise<string | undefined> {
  if (image.format !== 'qcow2') return keepsNone(image);
  if (image.chain[0]!['format-specific']?.data?.compat === '0.10') {
    return 'qcow2 images of version 0.10 keep no bitmaps: qemu-img amend -o compat=1.1 makes it one that does';
  }
  try {
    await access(image.path, constants.W_OK);
  } catch (error) {
    return `the image may not be written (${(error as NodeJS.ErrnoException).code})`;
  }
  const { bavail, bsize } = await statfs(image.path);
  const neededBytes = roomFor(image, blockSize);
  if (bavail * bsize >= neededBytes) return undefined;
  return `there is no room beside the image for a bitmap: make ${neededBytes} bytes free`;
}

/** QEMU writes all bitmaps anew when one is added, and loses all of them where that fails. */
function roomFor(image: InspectedImage, blockSize: number): number {
  const granularities = [blockSize, ...bitmapsOf(image).map(({ granularity }) => granularity)];
  const sizes = granularities.map((bytes) => Math.ceil(image.sizeBytes / bytes / 8) + TABLES_BYTES);
  return sizes.reduce((sum, size) => sum + size, 0);
}

function keepsNone({ format }: InspectedImage): string {
  return `${format} images keep no bitmap while the VM is off`;
}

function bitmapsOf({ chain }: InspectedImage): readonly QemuBitmap[] {
  return chain[0]!['format-specific']?.data?.bitmaps ?? [];
}

/** As QEMU shows the chain of a running VM. */
function nested({ chain }: InspectedImage): QemuImageInfo {
  return chain.reduceRight<QemuImageInfo | undefined>(
    (backing, info) => (backing === undefined ? info : { ...info, 'backing-image': backing }),
    undefined,
  )!;
}
