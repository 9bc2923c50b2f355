/** For this room's tests: a real clock, scratch folders, and the real programs that they talk to. */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { toldElsewhere, type Clock } from '#base';

export const clock: Clock = {
  nowMs: () => Math.round(performance.timeOrigin + performance.now()),
  monotonicMs: () => performance.now(),
  sleep: async (durationMs, signal) => await sleep(durationMs, undefined, { signal }),
};

/** A folder that goes when the test ends. */
export async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-disk-'));
  t.after(async () => await rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a program that must succeed; its standard output. */
export async function run(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { maxBuffer: 64 << 20 })).stdout;
}

/** Starts a server that must make `socket`, and ends it with the test. */
export async function serve(
  t: TestContext,
  socket: string,
  [command, ...args]: [string, ...string[]],
): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const failed = new Promise<never>((_resolve, reject) => child.once('error', reject));
  void toldElsewhere(failed); // Raced below; a later failure shows in the test itself.
  t.after(() => child.kill('SIGKILL'));
  for (let tries = 0; tries < 1000 && !existsSync(socket); tries += 1) {
    await Promise.race([sleep(5), failed]);
  }
  assert.ok(existsSync(socket), `${command} made no socket`);
  return child;
}

/**
 * As `serve`, with a writable, persistent qemu-nbd, as a VM holds its disk: on return it has its locks (its
 * socket is there before).
 */
export async function holdAsVm(
  t: TestContext,
  image: { readonly path: string; readonly format: string; readonly socket: string },
): Promise<void> {
  const { path, format, socket } = image;
  await serve(t, socket, ['qemu-nbd', '-t', '-f', format, '-k', socket, path]);
  await run('nbdinfo', '--size', `nbd+unix:///?socket=${socket}`);
}

/** Bytes that are the same for the same seed, and do not compress. */
export function noise(seed: string, lengthBytes: number): Buffer {
  return createHash('shake256', { outputLength: lengthBytes }).update(seed).digest();
}

/** A sparse file with data at the given places. */
export async function sparseFile(
  path: string,
  sizeBytes: number,
  data: readonly { offset: number; bytes: Uint8Array }[],
): Promise<void> {
  const handle = await open(path, 'w');
  await handle.truncate(sizeBytes);
  for (const { offset, bytes } of data) await handle.write(bytes, 0, bytes.length, offset);
  await handle.sync();
  await handle.close();
}

export async function readAll(disk: {
  sizeBytes: number;
  read(offset: number, target: Uint8Array): Promise<void>;
}): Promise<Buffer> {
  const content = Buffer.alloc(disk.sizeBytes, 0xee);
  await disk.read(0, content);
  return content;
}
