/**
 * Puts one directory in the place of another. Two renames, as Node cannot exchange: a crash between
 * them leaves `dir.old` alone, which the next open puts back; the caller then rebuilds once more or
 * goes on with the old one.
 */
import { access, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from './manifest.ts';

export async function replaceDirectory(replacement: string, dir: string): Promise<void> {
  const old = `${dir}.old`;
  await rm(old, { force: true, recursive: true });
  if (await exists(dir)) await rename(dir, old);
  await rename(replacement, dir);
  await syncDirectory(dirname(dir));
  await rm(old, { force: true, recursive: true });
}

/** Ends what a crash inside `replaceDirectory` left. */
export async function recoverReplacement(dir: string): Promise<void> {
  const old = `${dir}.old`;
  if (!(await exists(old))) return;
  if (await exists(dir)) await rm(old, { force: true, recursive: true });
  else await rename(old, dir);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
