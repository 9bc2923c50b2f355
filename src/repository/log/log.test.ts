import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';

import { FakeClock, isHoldfastError, type ErrorCode } from '#base';
import { MemoryDisk, type FaultKind, type ObjectStore } from '#storage';

import { Keyring } from '../keys/keyring.ts';
import { sealJson } from '../keys/sealed-object.ts';
import { seededRandom } from '../keys/seeded-random.ts';
import type { LogEvent } from './log-entry.ts';
import { Log, LOG_START, type LogPosition, type VerifiedEntry } from './log.ts';
import { numberedName } from './object-number.ts';

const random = seededRandom('log');
const clock = new FakeClock();
const keyring = Keyring.create({ blockSize: 16_384, random });
const logOn = (store: ObjectStore): Log => new Log({ store, keyring, clock, random });
const nameOf = (number: number): string => numberedName('log/', number);

const code =
  (wanted: ErrorCode, message = /./) =>
  (error: unknown): boolean =>
    isHoldfastError(error, wanted) && message.test(error.message);

const readAll = async (log: Log, start = LOG_START): Promise<VerifiedEntry[]> => {
  const entries: VerifiedEntry[] = [];
  for await (const entry of log.readFrom(start)) entries.push(entry);
  return entries;
};

const expire = (...points: string[]): LogEvent => ({ type: 'point-expired', points });

const appended = async (log: Log, event: LogEvent, at: LogPosition): Promise<LogPosition> => {
  const result = await log.append(event, { ...at, epoch: 1 });
  assert.equal(result.outcome, 'appended');
  return result.next;
};

const diskWith = async (entryCount: number): Promise<MemoryDisk> => {
  const disk = new MemoryDisk();
  const log = logOn(disk.store());
  let at = LOG_START;
  for (let i = 0; i < entryCount; i += 1) at = await appended(log, expire(String(i)), at);
  return disk;
};

const pointsOf = (entries: readonly VerifiedEntry[]): string[] =>
  entries.flatMap(({ entry }) => (entry.type === 'point-expired' ? entry.points : []));

test('an empty log has no entries', async () => {
  assert.deepEqual(await readAll(logOn(new MemoryDisk().store())), []);
});

test('what was appended is read in order, from any position, with its chain of hashes', async () => {
  const log = logOn((await diskWith(40)).store());
  const all = await readAll(log);
  assert.deepEqual(
    pointsOf(all),
    Array.from({ length: 40 }, (_, i) => String(i)),
  );
  for (const [i, { entry }] of all.entries()) {
    assert.equal(entry.number, i);
    assert.equal(entry.previous, all[i - 1]?.hash ?? LOG_START.previousHash);
    assert.equal(entry.epoch, 1);
    assert.equal(entry.timeMs, clock.nowMs());
  }
  const rest = await readAll(log, { number: 31, previousHash: all[30]?.hash ?? '' });
  assert.deepEqual(rest, all.slice(31));
  assert.equal(await log.hashOf(7), all[7]?.hash);
  assert.equal(await log.hashOf(40), undefined);
});

test('a reader sees what is appended while it reads', async () => {
  const log = logOn((await diskWith(3)).store());
  const seen: string[] = [];
  for await (const { entry, hash } of log.readFrom(LOG_START)) {
    seen.push(...pointsOf([{ entry, hash }]));
    if (entry.number < 10 && entry.number >= 2) {
      await appended(log, expire(`new${entry.number}`), {
        number: entry.number + 1,
        previousHash: hash,
      });
    }
  }
  assert.deepEqual(seen.slice(0, 4), ['0', '1', '2', 'new2']);
  assert.equal(seen.length, 11);
});

test('every flipped bit of an entry is found', async () => {
  const disk = await diskWith(3);
  const log = logOn(disk.store());
  const intact = disk.objects.get(nameOf(1));
  assert.ok(intact);
  for (let bit = 0; bit < intact.length * 8; bit += 1) {
    disk.flipBit(nameOf(1), bit);
    await assert.rejects(
      readAll(log),
      (error) =>
        isHoldfastError(error, 'LogDamaged') || isHoldfastError(error, 'FormatUnsupported'),
    );
    disk.flipBit(nameOf(1), bit);
  }
  assert.equal((await readAll(log)).length, 3);
});

test('any missing entry but the last is named', async () => {
  for (let gone = 0; gone < 11; gone += 1) {
    const disk = await diskWith(12);
    disk.objects.delete(nameOf(gone));
    await assert.rejects(
      readAll(logOn(disk.store())),
      code('LogDamaged', new RegExp(`log entry ${gone} is missing`)),
    );
  }
});

test('a hole is found in the listing when more than the next entry is gone', async () => {
  const disk = await diskWith(40);
  for (let gone = 5; gone < 39; gone += 1) disk.objects.delete(nameOf(gone));
  await assert.rejects(readAll(logOn(disk.store())), code('LogDamaged', /log entry 5 is missing/));
});

test('a stale or partial listing loses nothing', async () => {
  for (const listing of ['stale', 'partial'] as const) {
    const disk = new MemoryDisk({ listing });
    const log = logOn(disk.store());
    let at = LOG_START;
    for (let i = 0; i < 30; i += 1) {
      at = await appended(log, expire(String(i)), at);
      assert.equal((await readAll(log)).length, i + 1);
    }
    disk.objects.delete(nameOf(28));
    await assert.rejects(readAll(log), code('LogDamaged', /log entry 28 is missing/));
  }
});

test('an entry that comes between the look and the listing is no hole', async () => {
  const disk = await diskWith(2);
  const inner = disk.store();
  const writer = logOn(disk.store());
  let at: LogPosition = { number: 2, previousHash: (await writer.hashOf(1)) ?? '' };
  let wasAppended = false;
  const store = new Proxy(inner, {
    get(target, property) {
      if (property !== 'size') return Reflect.get(target, property).bind(target) as unknown;
      return async (name: string) => {
        if (!wasAppended) {
          wasAppended = true;
          for (const point of ['x', 'y', 'z']) at = await appended(writer, expire(point), at);
        }
        return target.size(name);
      };
    },
  });
  assert.deepEqual(pointsOf(await readAll(logOn(store))), ['0', '1', 'x', 'y', 'z']);
});

test('an entry in the place of another, or of another history, is found', async () => {
  const disk = await diskWith(4);
  const second = disk.objects.get(nameOf(1));
  const third = disk.objects.get(nameOf(2));
  assert.ok(second && third);
  disk.objects.set(nameOf(2), second);
  await assert.rejects(readAll(logOn(disk.store())), code('LogDamaged', /log entry 2 is damaged/));
  const other = (await diskWith(4)).objects.get(nameOf(2));
  assert.ok(other);
  disk.objects.set(nameOf(2), other);
  await assert.rejects(readAll(logOn(disk.store())), code('LogDamaged', /does not follow/));
});

test('the log read with another start than its own is refused', async () => {
  const log = logOn((await diskWith(4)).store());
  const wrong = { number: 2, previousHash: 'ab'.repeat(32) };
  await assert.rejects(readAll(log, wrong), code('LogDamaged', /entry 2 .*does not follow/));
});

test('an entry of a type that is not known asks for a newer Holdfast', async () => {
  const disk = new MemoryDisk();
  const header = { number: 0, previous: LOG_START.previousHash, timeMs: 0, epoch: 0 };
  const seal = (value: unknown): Buffer =>
    sealJson({ keyring, kind: 'log', name: nameOf(0), value, random });
  disk.objects.set(nameOf(0), seal({ ...header, type: 'teleported' }));
  await assert.rejects(readAll(logOn(disk.store())), code('FormatUnsupported', /teleported/));
  disk.objects.set(nameOf(0), seal({ ...header, type: 'point-expired', points: 'all' }));
  await assert.rejects(readAll(logOn(disk.store())), code('LogDamaged', /"points"/));
  disk.objects.set(nameOf(0), seal({ ...header, number: 1, ...expire() }));
  await assert.rejects(readAll(logOn(disk.store())), code('LogDamaged', /it has number 1/));
});

test('an entry that nobody could read is not written', async () => {
  const disk = new MemoryDisk();
  const bad: LogEvent = { type: 'deleted', packs: [], sizeBytes: Number.NaN };
  await assert.rejects(logOn(disk.store()).append(bad, { ...LOG_START, epoch: 1 }));
  const huge = expire('x'.repeat(16 * 1024 * 1024));
  await assert.rejects(
    logOn(disk.store()).append(huge, { ...LOG_START, epoch: 1 }),
    code('ArgumentInvalid'),
  );
  assert.equal(disk.objects.size, 0);
});

test('of racing writers each number goes to one, and nobody loses an entry', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.integer({ min: 2, max: 4 }),
      async (scheduler, writerCount) => {
        const disk = new MemoryDisk();
        const writer = async (name: string): Promise<void> => {
          const inner = disk.store();
          const store = new Proxy(inner, {
            get(target, property) {
              const method: unknown = Reflect.get(target, property);
              if (property !== 'createIfAbsent') return (method as () => unknown).bind(target);
              return scheduler.scheduleFunction(target.createIfAbsent.bind(target));
            },
          });
          const log = logOn(store);
          let at = LOG_START;
          for (let written = 0; written < 3;) {
            const result = await log.append(expire(`${name}${written}`), { ...at, epoch: 1 });
            if (result.outcome === 'appended') {
              at = result.next;
              written += 1;
              continue;
            }
            for await (const { entry, hash } of log.readFrom(at)) {
              at = { number: entry.number + 1, previousHash: hash };
            }
          }
        };
        const writers = Array.from({ length: writerCount }, (_, i) => writer('abcd'.charAt(i)));
        await scheduler.waitFor(Promise.all(writers));
        const points = pointsOf(await readAll(logOn(disk.store())));
        for (const name of 'abcd'.slice(0, writerCount)) {
          const own = points.filter((point) => point.startsWith(name));
          assert.deepEqual(own, [`${name}0`, `${name}1`, `${name}2`]);
        }
        assert.equal(points.length, 3 * writerCount);
      },
    ),
    { numRuns: 60 },
  );
});

const FAULTS: readonly FaultKind[] = [
  'fail',
  'failAfter',
  'transient',
  'transientAfter',
  'torn',
  'powerLoss',
  'full',
];

for (const kind of FAULTS) {
  test(`append with the fault "${kind}" at each call tells the truth or fails`, async () => {
    for (let atCall = 1; atCall <= 4; atCall += 1) {
      const disk = await diskWith(2);
      const log = logOn(disk.store());
      const at = { number: 2, previousHash: (await log.hashOf(1)) ?? '', epoch: 1 };
      disk.plan = { atCall, kind };
      const outcome = await log.append(expire('mine'), at).then(
        (result) => result.outcome,
        (error: unknown) => (isHoldfastError(error) ? error.code : 'bug'),
      );
      const survivors = pointsOf(await readAll(logOn(disk.reopen())));
      if (outcome === 'appended') assert.deepEqual(survivors, ['0', '1', 'mine']);
      else assert.equal(outcome, 'StoreFailed');
      if (kind.startsWith('transient') || kind === 'full') assert.equal(outcome, 'appended');
    }
  });

  test(`a lost race with the fault "${kind}" at each call is never taken for won`, async () => {
    for (let atCall = 1; atCall <= 4; atCall += 1) {
      const disk = await diskWith(3);
      const log = logOn(disk.store());
      const at = { number: 2, previousHash: (await log.hashOf(1)) ?? '', epoch: 1 };
      disk.plan = { atCall, kind };
      const outcome = await log.append(expire('mine'), at).then(
        (result) => result.outcome,
        (error: unknown) => (isHoldfastError(error) ? error.code : 'bug'),
      );
      assert.ok(['lost', 'StoreFailed', 'StoreFull'].includes(outcome), outcome);
      assert.deepEqual(pointsOf(await readAll(logOn(disk.reopen()))), ['0', '1', '2']);
    }
  });
}

test('half an entry made visible by a bad store is found', async () => {
  const disk = await diskWith(2);
  const log = logOn(disk.store());
  const at = { number: 2, previousHash: (await log.hashOf(1)) ?? '', epoch: 1 };
  disk.plan = { atCall: 1, kind: 'tornVisible' };
  await assert.rejects(log.append(expire('mine'), at));
  await assert.rejects(readAll(logOn(disk.reopen())), code('LogDamaged', /log entry 2 is damaged/));
});
