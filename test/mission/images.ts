/** Real disk images for the mission tests: raw files made of blocks that do not compress. */
import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, truncate, writeFile } from 'node:fs/promises';

/** The block size of the documents' example, and the default. */
export const BLOCK = 16 * 1024;
export const MIB = 1024 ** 2;
export const TIB = 1024 ** 4;

export type Write = { readonly offset: number; readonly bytes: Uint8Array };

/** Bytes that do not compress; the same for the same text. */
export function noise(text: string, sizeBytes: number): Buffer {
  const key = createHash('sha256').update(text).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}

/** The content of one block, known by its name: `D1`, `D2′`. */
export function block(name: string): Buffer {
  return noise(name, BLOCK);
}

/** Makes a sparse raw image. */
export async function makeImage(
  path: string,
  sizeBytes: number,
  writes: readonly Write[] = [],
): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
  await writeImage(path, writes);
}

export async function writeImage(path: string, writes: readonly Write[]): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    for (const { offset, bytes } of writes) await handle.write(bytes, 0, bytes.length, offset);
  } finally {
    await handle.close();
  }
}

/** Writes named contents to blocks, counted from 1 as the documents do; `undefined` makes one zero. */
export async function writeBlocks(
  path: string,
  contents: Readonly<Record<number, string | undefined>>,
): Promise<void> {
  const writes = Object.entries(contents).map(([number, name]) => ({
    offset: (Number(number) - 1) * BLOCK,
    bytes: name === undefined ? Buffer.alloc(BLOCK) : block(name),
  }));
  await writeImage(path, writes);
}

/** SHA-256 of a whole file, holes as zeros. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 4 * MIB })) {
    hash.update(piece as Buffer);
  }
  return hash.digest('hex');
}
