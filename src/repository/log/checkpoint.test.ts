import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeClock, HoldfastError, isHoldfastError } from '#base';
import { MemoryDisk } from '#storage';

import { Keyring } from '../keys/keyring.ts';
import { seededRandom } from '../keys/seeded-random.ts';
import {
  readNewestCheckpoint,
  writeCheckpoint,
  type PassedOver,
  type ReadCheckpoint,
} from './checkpoint.ts';
import { Log, LOG_START, type LogPosition } from './log.ts';
import { numberedName } from './object-number.ts';

const random = seededRandom('checkpoint');
const keyring = Keyring.create({ blockSize: 16_384, random });
const nameOf = (number: number): string => numberedName('checkpoint/', number);

type State = { readonly count: number };

const parse = (state: unknown): State => {
  if (typeof state === 'object' && state !== null && 'count' in state) return state as State;
  throw new HoldfastError('ObjectDamaged', 'no count');
};

/** Ten entries and checkpoints after entries 2, 5 and 8. */
const makeLog = async (): Promise<{
  readonly disk: MemoryDisk;
  readonly hashes: readonly string[];
  readonly read: () => Promise<readonly [ReadCheckpoint<State> | undefined, readonly PassedOver[]]>;
}> => {
  const disk = new MemoryDisk();
  const store = disk.store();
  const log = new Log({ store, keyring, clock: new FakeClock(), random });
  const hashes: string[] = [];
  let at: LogPosition = LOG_START;
  for (let number = 0; number < 10; number += 1) {
    const result = await log.append({ type: 'unpinned', pin: '' }, { ...at, epoch: 1 });
    assert.equal(result.outcome, 'appended');
    at = result.next;
    hashes.push(result.hash);
    if (number % 3 !== 2) continue;
    const checkpoint = { number, hash: result.hash, state: { count: number + 1 } };
    await writeCheckpoint({ store, keyring, random }, checkpoint);
  }
  const read = async () => {
    const passed: PassedOver[] = [];
    const passedOver = (checkpoint: PassedOver): void => void passed.push(checkpoint);
    const found = await readNewestCheckpoint({ store, keyring, log, parse, passedOver });
    return [found, passed] as const;
  };
  return { disk, hashes, read };
};

test('the newest is read, and says where the log goes on', async () => {
  const { hashes, read } = await makeLog();
  assert.deepEqual(await read(), [
    { number: 8, state: { count: 9 }, next: { number: 9, previousHash: hashes[8] } },
    [],
  ]);
});

test('without any the log is read from its start', async () => {
  const { disk, read } = await makeLog();
  for (const number of [2, 5, 8]) disk.objects.delete(nameOf(number));
  assert.deepEqual(await read(), [undefined, []]);
});

test('a listing that is stale, partial or has foreign names does not matter', async () => {
  const { disk, read } = await makeLog();
  disk.objects.set('checkpoint/notes', Buffer.from('x'));
  for (const listing of ['stale', 'partial'] as const) {
    disk.listing = listing;
    const [found, passed] = await read();
    assert.ok(found === undefined || found.state.count === found.number + 1);
    assert.deepEqual(passed, []);
  }
});

test('a damaged one is passed over and reported, at every byte', async () => {
  const { disk, read } = await makeLog();
  const sizeBytes = disk.objects.get(nameOf(8))?.length ?? 0;
  for (let byte = 0; byte < sizeBytes; byte += 1) {
    disk.flipBit(nameOf(8), byte * 8 + (byte % 8));
    const [found, passed] = await read();
    assert.equal(found?.number, 5);
    assert.deepEqual(
      passed.map(({ name }) => name),
      [nameOf(8)],
    );
    disk.flipBit(nameOf(8), byte * 8 + (byte % 8));
  }
});

test('one of a state that is not understood is passed over', async () => {
  const { disk, hashes, read } = await makeLog();
  disk.objects.delete(nameOf(8));
  const access = { store: disk.store(), keyring, random };
  await writeCheckpoint(access, { number: 8, hash: hashes[8] ?? '', state: {} });
  const [found, passed] = await read();
  assert.equal(found?.number, 5);
  assert.equal(passed[0]?.reason, 'no count');
});

test('one of another history is passed over', async () => {
  const { disk, read } = await makeLog();
  disk.objects.delete(nameOf(8));
  const access = { store: disk.store(), keyring, random };
  await writeCheckpoint(access, { number: 8, hash: 'ab'.repeat(32), state: { count: 1 } });
  const [found, passed] = await read();
  assert.equal(found?.number, 5);
  assert.match(passed[0]?.reason ?? '', /another log/);
});

test('one that is there already stays', async () => {
  const { disk, read } = await makeLog();
  const access = { store: disk.store(), keyring, random };
  await writeCheckpoint(access, { number: 8, hash: 'ab'.repeat(32), state: { count: 1 } });
  assert.equal((await read())[0]?.state.count, 9);
});

test('a log cut off below a checkpoint is damaged, even if the checkpoint is too', async () => {
  const { disk, read } = await makeLog();
  disk.objects.delete(numberedName('log/', 9));
  disk.objects.delete(numberedName('log/', 8));
  const lost = (error: unknown): boolean =>
    isHoldfastError(error, 'LogDamaged') && error.message.includes('entry 8 is missing');
  await assert.rejects(read(), lost);
  disk.flipBit(nameOf(8));
  await assert.rejects(read(), lost);
});
