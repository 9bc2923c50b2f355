/**
 * Whether a QEMU process may write to a raw image. QEMU's readers of raw images share them with
 * writers, so qemu-img does not complain; but every writer holds an open-file-description lock on
 * byte 101 (`RAW_LOCK_PERM_BASE` + write, in QEMU's block/file-posix.c), and the kernel lists it.
 */
import { readFile } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';

const WRITE_PERMISSION_BYTE = 101;

/** `1: OFDLCK ADVISORY READ -1 08:01:1234 100 101`: numbers of the device in hex, then inode, first and last byte. */
const LOCK = /OFDLCK\s+\S+\s+\S+\s+\S+ ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)/;

/** False also where the kernel has no list of locks. */
export async function isOpenForWriting(stats: BigIntStats): Promise<boolean> {
  const locks = await readFile('/proc/locks', 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return '';
    throw error;
  });
  return locks.split('\n').some((line) => {
    const [, major, minor, inode, first, last] = LOCK.exec(line) ?? [];
    if (inode !== String(stats.ino) || first === undefined) return false;
    const end = last === 'EOF' ? Infinity : Number(last);
    if (Number(first) > WRITE_PERMISSION_BYTE || end < WRITE_PERMISSION_BYTE) return false;
    // Some file systems (btrfs, overlay) show files under another unnamed device, of major number 0.
    const device = [parseInt(major!, 16), parseInt(minor!, 16)];
    return device[0] === 0 || device.join() === numbersOf(stats.dev).join();
  });
}

/** Major and minor number, as in glibc's `gnu_dev_major`. */
function numbersOf(device: bigint): number[] {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return [Number(major), Number(minor & 0xffffffffn)];
}
