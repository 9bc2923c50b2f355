/**
 * Room that is kept so that room can be made: on a disk without a free byte an owner could not even write that it
 * is one. A file beside the objects, part of no format; it is given up by what frees space, and made again when
 * there is room. What it holds does not compress.
 */
import { rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { RandomBytes } from '../keys/random-bytes.ts';
import type { LocalPlace } from './open-options.ts';

const RESERVE_BYTES = 4 * 1024 * 1024;
/** A disk with less has better use for it. */
const LEAST_FREE_BYTES = 4 * RESERVE_BYTES;

/** Makes the reserve where it is not and there is room; whoever cannot does without. */
export async function keepReserve({ reserveFile }: LocalPlace, random: RandomBytes): Promise<void> {
  if ((await sizeOf(reserveFile)) >= RESERVE_BYTES) return;
  try {
    const { bavail, bsize } = await statfs(dirname(reserveFile));
    if (bavail * bsize < LEAST_FREE_BYTES) return;
    await writeFile(reserveFile, random(RESERVE_BYTES), { mode: 0o600 });
  } catch {
    // It was taken meanwhile, or nothing can be written any more: the next owner tries again.
    await rm(reserveFile, { force: true });
  }
}

/** @returns whether there was one. */
export async function giveUpReserve({ reserveFile }: LocalPlace): Promise<boolean> {
  if ((await sizeOf(reserveFile)) === 0) return false;
  await rm(reserveFile);
  return true;
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined); // Where it cannot be looked at, there is none.
  return found?.size ?? 0;
}
