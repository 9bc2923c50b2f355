/** Whether new images have room where they will lie: asked once all is planned, before the first byte is written. */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError } from '#base';

/** What will be written to one new image. */
export type PlannedImage = { readonly path: string; readonly bytes: number };

/**
 * @throws {HoldfastError} `StoreFull` with what is needed and what is free, in bytes, where a file system has less
 *   than all its images need. What others write meanwhile is not foreseen.
 */
export async function requireSpace(images: readonly PlannedImage[]): Promise<void> {
  const needed = new Map<number, { readonly folder: string; bytes: number }>();
  for (const { path, bytes } of images) {
    const folder = dirname(path);
    const { dev } = await stat(folder);
    const of = needed.get(dev) ?? { folder, bytes: 0 };
    needed.set(dev, { ...of, bytes: of.bytes + bytes });
  }
  for (const { folder, bytes } of needed.values()) {
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    if (free >= bytes) continue;
    throw new HoldfastError(
      'StoreFull',
      `${folder} has ${mib(free)} MiB free, and the disks need ${mib(bytes)} MiB: free space there, or restore ` +
        'elsewhere or fewer disks',
      { details: { folder, freeBytes: free, neededBytes: bytes, purpose: 'images' } },
    );
  }
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}
