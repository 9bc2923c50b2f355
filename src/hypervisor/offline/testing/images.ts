/** For tests of VMs that are off: real images, written as a VM writes them, and killed as one is. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { realClock } from '#base';
import type { QemuBitmap } from '#disk';

export const clock = realClock();
export const KIB = 1024;
export const MIB = 1024 * KIB;

/** A folder, with a space in its name, that goes when the test ends. */
export async function imageFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast off-'));
  t.after(async () => await rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a program that must succeed; its standard output. */
export async function run(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { maxBuffer: 64 * MIB })).stdout;
}

/** `qemu-img create` of `sizeBytes`, or on a backing file in the same folder. */
export async function createImage(
  path: string,
  from: number | { readonly backing: string },
  format = 'qcow2',
): Promise<string> {
  const args =
    typeof from === 'number' ? [path, String(from)] : ['-b', from.backing, '-F', 'qcow2', path];
  await run('qemu-img', 'create', '-q', '-f', format, ...args);
  return path;
}

/** Writes through QEMU's driver, as a VM does: bitmaps that are enabled record it. Commands of qemu-io. */
export async function writeAsVm(path: string, ...commands: string[]): Promise<void> {
  await run('qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path);
}

export type Holder = {
  /** As when the VM shuts down. */
  readonly stop: () => Promise<void>;
  /** As when the host crashes. */
  readonly kill: () => Promise<void>;
};

/** Opens the image for writing and keeps it open, as a running VM does. */
export async function holdAsVm(
  t: TestContext,
  image: { readonly path: string; readonly format: string },
): Promise<Holder> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-vm-'));
  const pidFile = join(folder, 'pid');
  const args = [
    '-t',
    '-f',
    image.format,
    '--pid-file',
    pidFile,
    '-k',
    join(folder, 's'),
    image.path,
  ];
  const child = spawn('qemu-nbd', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  t.after(async () => {
    await end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });
  while (!existsSync(pidFile)) {
    assert.equal(child.exitCode, null, 'qemu-nbd ended');
    await sleep(3);
  }
  return { stop: async () => await end('SIGTERM'), kill: async () => await end('SIGKILL') };
}

export async function addBitmap(
  path: string,
  name: string,
  ...options: readonly string[]
): Promise<string> {
  await run('qemu-img', 'bitmap', '--add', '-g', '64K', ...options, '-f', 'qcow2', path, name);
  return name;
}

/** The bitmaps in an image, with their flags, by name. */
export async function bitmapsIn(path: string): Promise<Record<string, string>> {
  const info = JSON.parse(
    await run('qemu-img', 'info', '-U', '--output=json', '-f', 'qcow2', path),
  ) as { 'format-specific': { data: { bitmaps?: QemuBitmap[] } } };
  const bitmaps = info['format-specific'].data.bitmaps ?? [];
  return Object.fromEntries(bitmaps.map(({ name, flags }) => [name, flags.join(' ')]));
}
