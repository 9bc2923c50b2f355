/**
 * A real Debian 12 for tests: systemd, udev, GRUB, apt's packages, 64 MiB of hashed data in /srv/data. Built once
 * into `.cache/debian-guest` by test/lab/make-debian-guest (root, a Debian mirror). Boots in half a minute and
 * more: for one test that shows all of it together; everything else has the tiny guest.
 *
 * Disks: `vd0` is the system, an MBR with ext4 from the first mebibyte on; `vd1` is 64 MiB without a file system.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { startGuest, type TinyGuest } from './tiny-guest.ts';

const LAB = resolve(import.meta.dirname, '../lab');
const CACHE = resolve(import.meta.dirname, '../../.cache/debian-guest');
const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;
/** For e2fsprogs: the file system within an image of the system disk. */
const FILE_SYSTEM = '?offset=1048576';

/** New images of both disks in `folder`, in the order of the devices. */
export async function debianDisks(folder: string): Promise<readonly [string, string]> {
  await mkdir(CACHE, { recursive: true });
  const built = join(CACHE, 'disk.qcow2');
  const make = join(LAB, 'make-debian-guest');
  const options = ['-s', '1536', '-d', '64', '-p', 'sqlite3', '-c', join(CACHE, 'packages')];
  await run('flock', [join(CACHE, 'lock'), make, ...options, built]);
  const [system, data] = [join(folder, 'system.qcow2'), join(folder, 'data.qcow2')] as const;
  await copyFile(built, system);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', data, '64M']);
  return [system, data];
}

/** Starts it from its own disk: BIOS, GRUB, its kernel and initramfs. On return systemd has reached its target. */
export async function startDebian(t: TestContext, disks: readonly string[]): Promise<TinyGuest> {
  const guest = await startGuest(t, { disks, boot: ['-b', '-m', '384'] });
  await hasBooted(guest);
  return guest;
}

/** Waits until systemd has reached its target. */
export async function hasBooted(guest: Pick<TinyGuest, 'sh'>): Promise<void> {
  await guest.sh('until systemctl is-active -q multi-user.target; do sleep 1; done');
}

/** That the file system of a raw image of the system disk needs no repair, not even its journal replayed. */
export async function assertCleanSystem(image: string): Promise<void> {
  await run('e2fsck', ['-fn', `${image}${FILE_SYSTEM}`]);
}

/** Copies files out of a raw image of the system disk; those that are not there are left out. */
export async function filesOf(
  image: string,
  paths: readonly string[],
  folder: string,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const path of paths) {
    const command = `dump ${path} ${join(folder, path.split('/').at(-1)!)}`;
    await run('debugfs', ['-R', command, `${image}${FILE_SYSTEM}`]);
  }
}

/** The names in a folder of a raw image of the system disk. */
export async function namesIn(image: string, folder: string): Promise<string[]> {
  const listed = await run('debugfs', ['-R', `ls -p ${folder}`, `${image}${FILE_SYSTEM}`]);
  const names = listed.split('\n').map((line) => line.split('/')[5] ?? '');
  return names.filter((name) => name !== '' && name !== '.' && name !== '..').toSorted();
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const options = { env: { ...process.env, PATH }, maxBuffer: 64 << 20 };
  return (await promisify(execFile)(command, args, options)).stdout;
}
