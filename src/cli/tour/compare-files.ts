/** Whether two files hold the same bytes. */
import { open } from 'node:fs/promises';

const PART_BYTES = 4 * 1024 * 1024;

/** @returns the offset of the first byte that differs; undefined: the files are the same. */
export async function firstDifference(pathA: string, pathB: string): Promise<number | undefined> {
  await using a = await open(pathA);
  await using b = await open(pathB);
  const [partA, partB] = [Buffer.alloc(PART_BYTES), Buffer.alloc(PART_BYTES)];
  for (let offset = 0; ; offset += PART_BYTES) {
    const { bytesRead: sizeA } = await a.read(partA, 0, PART_BYTES, offset);
    const { bytesRead: sizeB } = await b.read(partB, 0, PART_BYTES, offset);
    const [bytesA, bytesB] = [partA.subarray(0, sizeA), partB.subarray(0, sizeB)];
    if (!bytesA.equals(bytesB)) {
      const at = bytesA.findIndex((byte, index) => byte !== bytesB[index]);
      return offset + (at < 0 ? sizeA : at);
    }
    if (sizeA < PART_BYTES) return undefined;
  }
}
