/** Whether a VM that is booted from a point will have room for its disks when they are copied. */
import { statfs } from 'node:fs/promises';
import type { NewVmDisk } from '#hypervisor';
import { forEachBlock, type Repository } from '#repository';
import type { PointDisk } from '../point-disks.ts';
import { requireSpace } from '../restoring/require-space.ts';

const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);
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
    planned.push({ path: images[at]!.path, bytes: await copiedBytes(repository, disk) });
  }
  await requireSpace(planned);
}

/** What an overlay takes that holds all of the disk but its zeros. */
async function copiedBytes(
  { parts, state: { blockSize } }: Repository,
  { root, sizeBytes }: PointDisk,
): Promise<number> {
  const toBlock = Math.ceil(sizeBytes / blockSize);
  const map = { pages: parts.keeper.reader, root: Buffer.from(root, 'hex'), fromBlock: 0, toBlock };
  let bytes = 0;
  let end = 0;
  await forEachBlock(map, ({ firstBlock, page, fromEntry, toEntry }) => {
    for (let entry = fromEntry; entry < toEntry; entry += 1) {
      const id = page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES);
      if (id.equals(ZERO_ID)) continue;
      const offset = (firstBlock + entry) * blockSize;
      const from = Math.max(end, Math.floor(offset / CLUSTER_BYTES) * CLUSTER_BYTES);
      end = Math.ceil((offset + blockSize) / CLUSTER_BYTES) * CLUSTER_BYTES;
      bytes += end - from;
    }
  });
  return bytes;
}
