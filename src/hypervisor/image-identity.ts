/**
 * Which image a path names, so that a bitmap of another disk's image is not used: all disks of a backup have
 * bitmaps of one name (libvirt's checkpoints leave no choice), and images of one VM are often as like as twins.
 * A file is its inode and its birth, so that neither a name that changed hands nor an inode that was used
 * again passes for it; a device is its path and number. An image that was moved to another file system is
 * another one: it is compared once.
 */
import { stat } from 'node:fs/promises';

/** @param location a path, as the host has it; anything else, or what is not there, is its own name. */
export async function imageIdentity(location: string): Promise<string> {
  if (!location.startsWith('/')) return location;
  try {
    const { ino, birthtimeNs, rdev, isBlock } = await facts(location);
    return isBlock ? `${location} ${rdev}` : `${ino} ${birthtimeNs}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // QEMU may have it open under a path of a namespace of its own.
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return location;
    throw error;
  }
}

async function facts(
  path: string,
): Promise<{ ino: bigint; birthtimeNs: bigint; rdev: bigint; isBlock: boolean }> {
  const found = await stat(path, { bigint: true });
  const { ino, birthtimeNs, ctimeNs, rdev } = found;
  // Where there is no birth Node shows the last change, which every write moves.
  const birth = birthtimeNs === ctimeNs ? 0n : birthtimeNs;
  return { ino, birthtimeNs: birth, rdev, isBlock: found.isBlockDevice() };
}
