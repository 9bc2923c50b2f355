/**
 * The contract of object-store.ts as tests, run on every implementation: a folder, memory, and each
 * decorator over memory. `make` gives two stores that are two processes on one storage.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isHoldfastError, type ErrorCode } from '#base';
import type { ListedObject, ObjectStore } from './object-store.ts';

export type ContractPeers = {
  readonly store: ObjectStore;
  /** Another process on the same storage. */
  readonly other: ObjectStore;
  readonly release: () => Promise<void>;
};

export function testObjectStoreContract(title: string, make: () => Promise<ContractPeers>): void {
  const check = (name: string, body: (peers: ContractPeers) => Promise<void>): void => {
    test(name, async () => {
      const peers = await make();
      try {
        await body(peers);
      } finally {
        await peers.release();
      }
    });
  };
  describe(`${title} keeps the contract of object stores`, () => {
    testCreation(check);
    testNamesAndEmptiness(check);
    testWriters(check);
    testTakenNames(check);
    testUnfinished(check);
    testReading(check);
    testDeletionAndListing(check);
    testHistories(check);
  });
}

type Check = (name: string, body: (peers: ContractPeers) => Promise<void>) => void;

function testCreation(check: Check): void {
  check('createIfAbsent makes an object once and leaves the first one unchanged', async (peers) => {
    const { store, other } = peers;
    assert.equal(await store.createIfAbsent('log/1', bytes('first')), 'created');
    assert.equal(await store.createIfAbsent('log/1', bytes('second')), 'exists');
    assert.equal(await other.createIfAbsent('log/1', bytes('third, longer')), 'exists');
    assert.equal(await readText(other, 'log/1'), 'first');
  });

  check(
    'of 20 concurrent callers of createIfAbsent exactly one wins, and its bytes stay',
    async (peers) => {
      for (let round = 0; round < 5; round++) {
        const name = `race/a${round}/number`;
        const callers = Array.from({ length: 20 }, (_, caller) => ({
          text: `caller ${caller}`,
          store: caller % 2 === 0 ? peers.store : peers.other,
        }));
        const outcomes = await Promise.all(
          callers.map(({ store, text }) => store.createIfAbsent(name, bytes(text))),
        );
        assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
        const winner = callers[outcomes.indexOf('created')]?.text;
        assert.equal(await readText(peers.store, name), winner);
      }
    },
  );

  check(
    'the caller may reuse its bytes after createIfAbsent, and those it read',
    async ({ store }) => {
      const own = Buffer.from('mine');
      await store.createIfAbsent('a', own);
      own.fill(0);
      (await store.read('a', { maxBytes: 4 })).fill(1);
      assert.equal(await readText(store, 'a'), 'mine');
    },
  );
}

function testNamesAndEmptiness(check: Check): void {
  check('an empty object is an object', async ({ store }) => {
    assert.equal(await store.createIfAbsent('empty', bytes('')), 'created');
    assert.equal(await store.createIfAbsent('empty', bytes('')), 'exists');
    assert.equal(await store.size('empty'), 0);
    assert.equal((await store.read('empty', { maxBytes: 0 })).length, 0);
    assert.equal((await store.readRange('empty', { offsetBytes: 0, lengthBytes: 0 })).length, 0);
  });

  check('malformed names are refused by every method', async ({ store }) => {
    for (const name of [
      '',
      '/a',
      'a/',
      'a//b',
      '../a',
      'a/../b',
      '.hidden',
      'A',
      'a b',
      'ä',
      'a\0',
    ]) {
      await rejects('ArgumentInvalid', store.createIfAbsent(name, bytes('x')));
      await rejects('ArgumentInvalid', store.openWriter(name));
      await rejects('ArgumentInvalid', store.read(name, { maxBytes: 1 }));
      await rejects('ArgumentInvalid', store.readRange(name, { offsetBytes: 0, lengthBytes: 1 }));
      await rejects('ArgumentInvalid', store.size(name));
      await rejects('ArgumentInvalid', store.delete(name));
    }
    await rejects('ArgumentInvalid', listAll(store, '../'));
    await rejects('ArgumentInvalid', store.discardUnfinished('/etc'));
  });
}

function testWriters(check: Check): void {
  check('a streamed object is invisible until commit and whole after it', async (peers) => {
    const { store, other } = peers;
    const writer = await store.openWriter('packs/ab/pack');
    const chunk = Buffer.alloc(5);
    for (let index = 0; index < 4; index++) {
      chunk.fill(`${index}`);
      await writer.write(chunk); // The same memory each time: the writer must have taken the bytes.
    }
    chunk.fill('x');
    assert.equal(writer.writtenBytes, 20);
    assert.equal(await other.size('packs/ab/pack'), undefined);
    assert.deepEqual(await listAll(other, 'packs'), []);
    await writer.commit();
    await writer.abort();
    assert.equal(await readText(other, 'packs/ab/pack'), '00000111112222233333');
    assert.equal(await other.size('packs/ab/pack'), 20);
  });

  check('a large object of odd writes reads back bit for bit', async ({ store, other }) => {
    const content = randomBytes(19 * 1024 * 1024 + 77);
    const writer = await store.openWriter('packs/large');
    const steps = [1, 4095, 100_000, 1024 * 1024, 3_333_333];
    for (let at = 0, step = 0; at < content.length; step++) {
      const end = Math.min(content.length, at + (steps[step % steps.length] ?? 1));
      await writer.write(content.subarray(at, end));
      at = end;
    }
    await writer.commit();
    assert.ok(content.equals(await other.read('packs/large', { maxBytes: content.length })));
    const range = { offsetBytes: 1_048_000, lengthBytes: 2_000_003 };
    const expected = content.subarray(1_048_000, 3_048_003);
    assert.ok(expected.equals(await other.readRange('packs/large', range)));
  });
}

function testTakenNames(check: Check): void {
  check(
    'commit refuses a name that is taken and leaves the object there unchanged',
    async (peers) => {
      const writer = await peers.store.openWriter('a/b');
      await writer.write(bytes('late'));
      await peers.other.createIfAbsent('a/b', bytes('early'));
      await rejects('ObjectExists', writer.commit());
      await writer.abort();
      assert.equal(await readText(peers.store, 'a/b'), 'early');
    },
  );

  check('of 20 concurrent commits of one name exactly one wins', async (peers) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, async (_, caller) => {
        const writer = await (caller % 2 === 0 ? peers.store : peers.other).openWriter('one');
        await writer.write(bytes(`caller ${caller}`));
        await writer.commit();
        return `caller ${caller}`;
      }),
    );
    const winners = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    assert.equal(winners.length, 1);
    assert.equal(await readText(peers.store, 'one'), winners[0]?.value);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(isHoldfastError(outcome.reason, 'ObjectExists'));
    }
  });
}

function testUnfinished(check: Check): void {
  check('an aborted put leaves nothing, and its name is free', async ({ store }) => {
    const writer = await store.openWriter('a');
    await writer.write(bytes('dropped'));
    await writer.abort();
    await writer.abort();
    assert.equal(await store.size('a'), undefined);
    assert.equal(await store.createIfAbsent('a', bytes('kept')), 'created');
  });

  check(
    'discardUnfinished ends puts under its prefix only, and no finished object',
    async (peers) => {
      const dead = await peers.store.openWriter('packs/aa/1');
      await dead.write(bytes('dead'));
      const alive = await peers.store.openWriter('packs/bb/2');
      await alive.write(bytes('alive'));
      await peers.store.createIfAbsent('packs/aa/3', bytes('finished'));
      await peers.other.discardUnfinished('packs/aa/');
      await rejects('StoreFailed', dead.commit());
      await dead.abort();
      await alive.commit();
      assert.equal(await peers.store.size('packs/aa/1'), undefined);
      assert.equal(await readText(peers.other, 'packs/bb/2'), 'alive');
      assert.equal(await readText(peers.other, 'packs/aa/3'), 'finished');
    },
  );

  check(
    'createIfAbsent succeeds while unfinished puts are discarded all the time',
    async (peers) => {
      const creating = Array.from({ length: 10 }, (_, index) =>
        peers.store.createIfAbsent(`log/${index}`, bytes(`${index}`)),
      );
      await Promise.all([...creating, peers.other.discardUnfinished('')]);
      assert.equal((await listAll(peers.other, 'log/')).length, 10);
    },
  );
}

function testReading(check: Check): void {
  check(
    'readRange gives exactly the range, and says when the object is shorter',
    async ({ store }) => {
      await store.createIfAbsent('a', bytes('0123456789'));
      const range = async (offsetBytes: number, lengthBytes: number): Promise<string> =>
        (await store.readRange('a', { offsetBytes, lengthBytes })).toString();
      assert.equal(await range(0, 10), '0123456789');
      assert.equal(await range(3, 4), '3456');
      assert.equal(await range(10, 0), '');
      await rejects('ObjectDamaged', range(3, 8));
      await rejects('ObjectDamaged', range(11, 0));
      await rejects('ObjectDamaged', range(0, 2 ** 50));
    },
  );

  check('read refuses an object above the limit', async ({ store }) => {
    await store.createIfAbsent('a', bytes('0123456789'));
    await rejects('ObjectDamaged', store.read('a', { maxBytes: 9 }));
    assert.equal((await store.read('a', { maxBytes: 10 })).length, 10);
  });

  check('absent objects are ObjectNotFound, and their size is undefined', async ({ store }) => {
    await store.createIfAbsent('a/b', bytes('x'));
    for (const name of ['none', 'a', 'a/c', 'c/d/e']) {
      await rejects('ObjectNotFound', store.read(name, { maxBytes: 1 }));
      await rejects('ObjectNotFound', store.readRange(name, { offsetBytes: 0, lengthBytes: 1 }));
      assert.equal(await store.size(name), undefined);
    }
  });
}

function testDeletionAndListing(check: Check): void {
  check('delete is idempotent, and the name is free for other bytes at once', async (peers) => {
    const { store, other } = peers;
    await store.delete('never/there');
    await store.createIfAbsent('a/b', bytes('old'));
    assert.equal(await readText(other, 'a/b'), 'old');
    assert.equal(await readText(store, 'a/b'), 'old');
    await store.delete('a/b');
    await other.delete('a/b');
    for (const peer of [store, other]) {
      assert.equal(await peer.size('a/b'), undefined);
      await rejects('ObjectNotFound', peer.readRange('a/b', { offsetBytes: 0, lengthBytes: 1 }));
    }
    assert.equal(await other.createIfAbsent('a/b', bytes('new')), 'created');
    for (const peer of [store, other]) assert.equal(await readText(peer, 'a/b'), 'new');
  });

  check('list finds objects by any prefix of their names, with sizes', async ({ store, other }) => {
    for (const name of [
      'keys/1',
      'log/1',
      'log/22',
      'packs/aa/x',
      'packs/ab/y',
      'packs-x',
      'top',
    ]) {
      await store.createIfAbsent(name, bytes(name));
    }
    const names = async (prefix: string): Promise<string[]> =>
      (await listAll(other, prefix)).map(({ name }) => name).toSorted();
    assert.deepEqual(await names('packs/'), ['packs/aa/x', 'packs/ab/y']);
    assert.deepEqual(await names('packs'), ['packs-x', 'packs/aa/x', 'packs/ab/y']);
    assert.deepEqual(await names('packs/ab/'), ['packs/ab/y']);
    assert.deepEqual(await names('packs/a'), ['packs/aa/x', 'packs/ab/y']);
    assert.deepEqual(await names('log/2'), ['log/22']);
    assert.deepEqual(await names('none/'), []);
    assert.equal((await names('')).length, 7);
    for (const { name, sizeBytes } of await listAll(other, ''))
      assert.equal(sizeBytes, name.length);
  });

  check('objects may be deleted while they are listed', async ({ store, other }) => {
    for (let index = 0; index < 100; index++) await store.createIfAbsent(`x/${index}`, bytes('x'));
    for await (const { name } of other.list('x/')) await store.delete(name);
    assert.deepEqual(await listAll(store, 'x/'), []);
  });
}

type Step = {
  readonly kind: 'create' | 'put' | 'delete' | 'read';
  readonly name: string;
  readonly text: string;
};

function testHistories(check: Check): void {
  check('any history of calls behaves as a map of names to bytes', async ({ store, other }) => {
    const step: fc.Arbitrary<Step> = fc.record({
      kind: fc.constantFrom<Step['kind']>('create', 'put', 'delete', 'read'),
      name: fc.constantFrom('a', 'b', 'c/d', 'c/e'),
      text: fc.string({ maxLength: 8 }),
    });
    let history = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        history += 1; // A folder for each, since the store outlives it.
        const model = new Map<string, string>();
        for (const [index, { kind, name, text }] of steps.entries()) {
          const placed = { kind, name: `h${history}/${name}`, text };
          await runStep(index % 2 === 0 ? store : other, placed, model);
        }
        const listed = (await listAll(other, `h${history}/`)).map(({ name }) => name);
        assert.deepEqual(listed.toSorted(), [...model.keys()].toSorted());
      }),
      { numRuns: 30 },
    );
  });
}

async function runStep(store: ObjectStore, step: Step, model: Map<string, string>): Promise<void> {
  const { kind, name, text } = step;
  const before = model.get(name);
  if (kind === 'create') {
    const outcome = await store.createIfAbsent(name, bytes(text));
    assert.equal(outcome, before === undefined ? 'created' : 'exists');
  } else if (kind === 'put') {
    const writer = await store.openWriter(name);
    await writer.write(bytes(text));
    if (before === undefined) await writer.commit();
    else await rejects('ObjectExists', writer.commit());
  } else if (kind === 'delete') {
    await store.delete(name);
    model.delete(name);
  }
  if ((kind === 'create' || kind === 'put') && before === undefined) model.set(name, text);
  const now = model.get(name);
  assert.equal(await store.size(name), now === undefined ? undefined : bytes(now).length);
  if (now !== undefined) assert.equal(await readText(store, name), now);
}

export async function listAll(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const listed: ListedObject[] = [];
  for await (const object of store.list(prefix)) listed.push(object);
  return listed;
}

export async function rejects(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isHoldfastError(error, code), `expected ${code}, got ${String(error)}`);
    return true;
  });
}

export function bytes(text: string): Buffer {
  return Buffer.from(text);
}

export async function readText(store: ObjectStore, name: string): Promise<string> {
  return (await store.read(name, { maxBytes: 1 << 20 })).toString();
}
