/** A cell of the compatibility matrix, tried: two backups of a real guest, and what the second one restores. */
import assert from 'node:assert/strict';
import { mkdir, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { succeed } from '../cli/holdfast.ts';
import { expectedOf, type Cell, type Expected } from './matrix-cells.ts';
import { matrixGuest, recordsReach, tool, type MatrixGuest } from './matrix-guest.ts';
import { assertCleanFileSystem, recordsIn } from './records.ts';

export type Outcome = Expected & {
  readonly cell: Cell;
  readonly first: 'initial';
  readonly readBytes: number;
  readonly storedBytes: number;
  readonly frozenMs: number | undefined;
  /** Failed steps by their codes, and why disks were compared. */
  readonly notes: readonly string[];
};

type Taken = {
  readonly pointId: string;
  readonly consistency: string;
  readonly frozenMs?: number;
  readonly disks: readonly {
    readonly name: string;
    readonly read: number;
    readonly stored: number;
    readonly tracking: string;
    readonly reason?: string;
  }[];
  readonly steps: readonly {
    readonly name: string;
    readonly outcome: string;
    readonly code?: string;
  }[];
};

const RECORDS = 10;

/** Two backups of the cell's VM, which writes between and, where it runs, meanwhile; the second is restored. */
export async function runCell(t: TestContext, cell: Cell): Promise<Outcome> {
  const guest = await matrixGuest(t, cell);
  const repository = join(guest.folder, 'repository');
  await succeed(['repo', 'init', repository, '--no-encryption']);
  await guest.start();
  const atFirst = await recordsReach(guest, RECORDS);
  if (cell.agent === 'hung') await guest.hangAgent();
  await enterState(guest, cell);
  const first = await backUp(guest, repository);
  await leaveState(guest, cell);
  const atSecond = await recordsReach(guest, atFirst + RECORDS);
  await enterState(guest, cell);
  const second = await backUp(guest, repository);
  assert.deepEqual(new Set(first.disks.map(({ tracking }) => tracking)), new Set(['initial']));
  const restored = await restore(guest, { repository, taken: second });
  await assertRestored(guest, { cell, restored, atLeast: atSecond });
  if (cell.state !== 'running') await assertSame(guest, restored);
  assert.equal(second.disks.length, cell.disks);
  return outcomeOf(cell, second);
}

async function enterState(guest: MatrixGuest, { state }: Cell): Promise<void> {
  if (state === 'paused') await guest.pause();
  if (state === 'off') await guest.off();
}

async function leaveState(guest: MatrixGuest, { state }: Cell): Promise<void> {
  if (state === 'paused') await guest.resume();
  if (state === 'off') await guest.start();
}

async function backUp(guest: MatrixGuest, repository: string): Promise<Taken> {
  const to = ['--repo', repository, '--item', 'guest', '--no-encryption', '--json'];
  const { stdout } = await succeed(['vm', 'backup', guest.vm, ...guest.connection, ...to]);
  return JSON.parse(stdout) as Taken;
}

/** The disks as raw images, in their order. */
async function restore(
  { folder }: MatrixGuest,
  from: { readonly repository: string; readonly taken: Taken },
): Promise<string[]> {
  const place = join(folder, 'restored');
  await mkdir(place);
  const disks = from.taken.disks.map(({ name }) => ({ name, path: join(place, `${name}.raw`) }));
  const to = disks.flatMap(({ name, path }) => ['--disk', `${name}=${path}`]);
  const { pointId } = from.taken;
  await succeed(['repo', 'restore', from.repository, pointId, ...to, '--no-encryption']);
  return disks.map(({ path }) => path).toSorted();
}

/** Every record up to the instant, none torn, and the other disks of the same instant. */
async function assertRestored(
  guest: MatrixGuest,
  expected: { readonly cell: Cell; readonly restored: readonly string[]; readonly atLeast: number },
): Promise<void> {
  const { cell, restored, atLeast } = expected;
  const system = join(guest.folder, 'system.check');
  await tool('cp', '--sparse=always', restored[0]!, system);
  // What is only crash-consistent has its journal replayed, as at its next start.
  if (expectedOf(cell).consistency === 'CrashConsistent') {
    await tool('sh', '-c', 'e2fsck -fy "$0" >/dev/null; [ $? -le 1 ]', system);
  }
  await assertCleanFileSystem(system);
  const records = await recordsIn(system);
  assert.ok(records >= atLeast, `${records} records, ${atLeast} were durable`);
  const numbers = [records, ...(await Promise.all(restored.slice(1).map(numberAtStart)))];
  const text = `the disks are at ${numbers.join(', ')}`;
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => b - a),
    text,
  );
  assert.ok(numbers[0]! - numbers.at(-1)! <= 1, text);
}

async function numberAtStart(path: string): Promise<number> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
    return Number(/^\d+/.exec(buffer.toString('latin1', 0, bytesRead))?.[0]);
  } finally {
    await file.close();
  }
}

/** Nobody has written since: the images are what was restored. */
async function assertSame(guest: MatrixGuest, restored: readonly string[]): Promise<void> {
  for (const [at, image] of guest.images.entries()) {
    const format = image.endsWith('.raw') ? 'raw' : 'qcow2';
    const of = ['-f', format, '-F', 'raw', image, restored[at]!];
    const said = await tool('qemu-img', 'compare', '-U', ...of);
    assert.match(said, /^Images are identical/, basename(image));
  }
}

function outcomeOf(cell: Cell, second: Taken): Outcome {
  const trackings = new Set(second.disks.map(({ tracking }) => tracking));
  assert.equal(trackings.size, 1, 'all disks alike');
  const failed = second.steps.filter(({ outcome }) => outcome === 'failed');
  const reasons = second.disks.map(({ name, reason }) => reason?.replaceAll(name, 'the disk'));
  return {
    cell,
    consistency: second.consistency,
    first: 'initial',
    tracking: [...trackings][0] as Outcome['tracking'],
    readBytes: second.disks.reduce((sum, { read }) => sum + read, 0),
    storedBytes: second.disks.reduce((sum, { stored }) => sum + stored, 0),
    frozenMs: second.frozenMs,
    notes: [
      ...failed.map(({ name, code }) => `${name}: ${code}`),
      ...new Set(reasons.filter((reason) => reason !== undefined)),
    ],
  };
}
