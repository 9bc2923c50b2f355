/** File systems of a few megabytes, to be filled. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs `body` in a file system of its own; `remount` changes its mount options. */
export async function inTinyFileSystem(
  size: string,
  body: (root: string, remount: (options: string) => void) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-tiny-'));
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', root]);
  try {
    await body(root, (options) => execFileSync('/bin/mount', ['-o', `remount,${options}`, root]));
  } finally {
    execFileSync('/bin/umount', ['-l', root]);
    rmSync(root, { recursive: true });
  }
}

/** Writes a file that leaves so many bytes free. @returns its path. */
export function fillUpTo(root: string, freeBytes: number): string {
  const file = join(root, 'filler');
  writeFileSync(file, Buffer.alloc(Math.max(0, freeBytesOf(root) - freeBytes), 1));
  return file;
}

export function freeBytesOf(root: string): number {
  const { bavail, bsize } = statfsSync(root);
  return bavail * bsize;
}
