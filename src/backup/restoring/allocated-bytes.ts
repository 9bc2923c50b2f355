/** What a disk of a recovery point takes where its zeros are not stored: its map is read, no data. */
import { forEachBlock, type Repository } from '#repository';
import { disksOf, type PointDisk } from '../point-disks.ts';

const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);

/**
 * @param unitBytes what the image grows by; a multiple of the block size, or a divisor.
 * @throws {HoldfastError} `BlockMissing`.
 */
export async function allocatedBytes(
  { parts, state: { blockSize } }: Repository,
  { root, sizeBytes }: PointDisk,
  unitBytes: number,
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
      const from = Math.max(end, Math.floor(offset / unitBytes) * unitBytes);
      end = Math.ceil((offset + blockSize) / unitBytes) * unitBytes;
      bytes += end - from;
    }
  });
  return bytes;
}

/**
 * What restoring these disks of a point will write at least.
 *
 * @param names of the disks; those that the point has not are passed over.
 * @throws {HoldfastError} `PointNotFound`, `BlockMissing`.
 */
export async function bytesToRestore(
  repository: Repository,
  { point, names }: { readonly point: string; readonly names: readonly string[] },
): Promise<number> {
  let bytes = 0;
  for (const disk of disksOf(repository, point).filter(({ name }) => names.includes(name))) {
    bytes += await allocatedBytes(repository, disk, repository.state.blockSize);
  }
  return bytes;
}
