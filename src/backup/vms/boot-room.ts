/** Whether a VM that is booted from a point will have room for its disks when they are copied. */
import { statfs } from 'node:fs/promises';
import type { NewVmDisk } from '#hypervisor';
import type { Repository } from '#repository';
import type { PointDisk } from '../point-disks.ts';
import { allocatedBytes } from '../restoring/allocated-bytes.ts';
import { requireSpace } from '../restoring/require-space.ts';

/** An overlay grows by these. */
const CLUSTER_BYTES = 64 * 1024;

/**
 * Into an existing folder. The maps of the disks are read only where the folder would not hold them written full.
 *
 * @param images in the order of `disks`.
 * @throws {HoldfastError} `StoreFull` with both figures; `BlockMissing`.
 */
export async function requireBootRoom(
  repository: Repository,
  {
    directory,
    disks,
    images,
  }: {
    readonly directory: string;
    readonly disks: readonly PointDisk[];
    readonly images: readonly Pick<NewVmDisk, 'path'>[];
  },
): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) <= bavail * bsize) return;
  const planned: { path: string; bytes: number }[] = [];
  for (const [at, disk] of disks.entries()) {
    const bytes = await allocatedBytes(repository, disk, CLUSTER_BYTES);
    planned.push({ path: images[at]!.path, bytes });
  }
  await requireSpace(planned);
}
