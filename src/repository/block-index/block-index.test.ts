/** The index against a Map, through flushes, merges, crashes and packs that go. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { isHoldfastError } from '#base';
import { BlockIndex } from './block-index.ts';
import { newFound } from './found.ts';
import { assertAnswers, idOf, IndexModel, knownOf, withFolder, type Known } from './index-model.ts';
import { IndexReader } from './index-reader.ts';

const at = (number: number) => ({ number, hash: `hash ${number}`, cursor: number % 3 });
const options = { isPackGone: () => false, memtableRecords: 1024 };

/** Ids that crowd one page, share their first 8 bytes, or are spread. */
const anyId = fc.oneof(
  fc.integer({ min: 0, max: 300 }).map(idOf),
  fc.integer({ min: 0, max: 40 }).map((i) => Buffer.concat([Buffer.alloc(15, 7), Buffer.of(i)])),
  fc.constantFrom(Buffer.alloc(16), Buffer.alloc(16, 255)),
);
const anyCopy = fc.record({
  pack: fc.integer({ min: 0, max: 6 }),
  frame: fc.constantFrom(0, 1, 65535),
  slot: fc.constantFrom(0, 254),
});
const anyStep = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ type: fc.constant('copy' as const), id: anyId, copy: anyCopy }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      type: fc.constant('count' as const),
      id: anyId,
      delta: fc.constantFrom(1, -1, 2 ** 31, -(2 ** 33), 2 ** 40 + 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constantFrom('flush', 'settle', 'check' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('all', 'crash' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('gone' as const),
      pack: fc.integer({ min: 0, max: 6 }),
    }),
  },
);
type AnyStep = typeof anyStep extends fc.Arbitrary<infer Step> ? Step : never;

class History {
  readonly dir: string;
  index!: BlockIndex;
  model = new IndexModel();
  gone = new Set<number>();
  flushed = new IndexModel();
  flushedGone = new Set<number>();
  flushes = 0;

  constructor(dir: string) {
    this.dir = dir;
  }

  readonly isPackGone = (pack: number): boolean => this.gone.has(pack);

  async flush(): Promise<void> {
    await this.index.flush(at(++this.flushes), { gone: [...this.gone] });
    this.flushed = this.model.clone();
    this.flushedGone = new Set(this.gone);
  }

  async crash(): Promise<void> {
    await this.index.close();
    this.index = await BlockIndex.open(this.dir, { ...options, isPackGone: this.isPackGone });
    this.model = this.flushed.clone();
    this.gone = new Set(this.flushedGone);
    assert.deepEqual(
      this.index.position,
      this.flushes > 0 ? at(this.flushes) : { number: -1, hash: '', cursor: 0 },
    );
    if (this.flushes > 0) assert.deepEqual(this.index.callerState, { gone: [...this.gone] });
  }

  async apply(step: AnyStep): Promise<void> {
    if (step.type === 'copy') {
      // A pack that is gone gets no more copies.
      if (this.gone.has(step.copy.pack)) return;
      const copy = { ...step.copy, share: step.copy.pack * 1000 + step.copy.slot + (1 << 23) };
      this.index.addCopy(step.id, copy);
      this.model.addCopy(step.id, copy);
    } else if (step.type === 'count') {
      this.index.addCount(step.id, step.delta);
      this.model.addCount(step.id, step.delta);
    } else if (step.type === 'gone') {
      this.gone.add(step.pack);
    } else if (step.type === 'crash') {
      await this.crash();
    } else if (step.type === 'check') {
      assertAnswers(this.index, this.model, this.isPackGone);
    } else {
      await this.flush();
      if (step.type === 'settle') await this.index.settle();
      if (step.type === 'all') await this.index.mergeAll();
    }
  }
}

test('answers as a Map does, whatever is flushed, merged, lost in a crash or gone', async () => {
  await withFolder(async (dir) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 150, size: 'max' }), async (steps) => {
        const history = new History(dir);
        history.index = await BlockIndex.create(dir, {
          ...options,
          isPackGone: history.isPackGone,
        });
        try {
          for (const step of steps) await history.apply(step);
          assertAnswers(history.index, history.model, history.isPackGone);
          await history.flush();
          const seen = new Map<string, Known>();
          let last = '';
          for await (const entry of history.index.entries()) {
            const hex = entry.id.toString('hex');
            assert(hex > last || seen.size === 0, 'entries come in id order');
            last = hex;
            seen.set(hex, knownOf(entry));
          }
          assert.deepEqual(seen, history.model.visible(history.isPackGone));
        } finally {
          await history.index.close();
        }
      }),
      { numRuns: 40 },
    );
  });
});

async function filled(
  dir: string,
  { idCount = 3000, flushEvery = 100 } = {},
): Promise<{ index: BlockIndex; model: IndexModel }> {
  const index = await BlockIndex.create(dir, options);
  const model = new IndexModel();
  for (let i = 0; i < idCount; i++) {
    const copy = { pack: i % 9, frame: i % 77, slot: i % 200, share: i };
    for (const table of [index, model]) {
      table.addCopy(idOf(i), copy);
      table.addCount(idOf(i * 2), 1);
    }
    if (i % flushEvery === 0) await index.flush(at(i), {});
  }
  await index.flush(at(idCount), {});
  return { index, model };
}

test('merging keeps few runs, and deletes the files of the others', async () => {
  await withFolder(async (dir) => {
    const { index, model } = await filled(dir);
    await index.settle();
    assert(index.stats.runCount <= 3);
    assertAnswers(index, model);
    const runFiles = (await readdir(dir)).filter((name) => name.endsWith('.run'));
    assert.equal(runFiles.length, index.stats.runCount);
    await index.close();
  });
});

test('a snapshot and a reader stay as they were while the writer merges and deletes', async () => {
  await withFolder(async (dir) => {
    const { index, model } = await filled(dir, { idCount: 500 });
    const snapshot = index.snapshot();
    const { reader: early, callerState } = await IndexReader.openReadOnly(dir);
    assert.deepEqual(callerState, {});
    for (let i = 0; i < 300; i++) {
      index.addCount(idOf(i), 5);
      if (i % 30 === 0) await index.flush(at(i), {});
    }
    await index.flush(at(999), {});
    await index.mergeAll();
    const late = IndexReader.open(structuredClone(snapshot));
    assertAnswers(early, model);
    await index.release(snapshot);
    await index.release(snapshot);
    assertAnswers(late, model);
    assert.deepEqual(late.position, at(500));
    assert.equal((await readdir(dir)).length, 2, 'the manifest and one run are left');
    early.close();
    late.close();
    await index.close();
  });
});

test('lookups are right at every moment of a merge', async () => {
  await withFolder(async (dir) => {
    const { index, model } = await filled(dir, { flushEvery: 400 });
    const merging = index.mergeAll();
    let isMerging = true;
    let checks = 0;
    void merging.then(() => (isMerging = false));
    while (isMerging) {
      assertAnswers(index, model);
      checks++;
      await new Promise(setImmediate);
    }
    await merging;
    assert(checks > 3);
    assert.equal(index.stats.runCount, 1);
    await index.close();
  });
});

test('the same records give the same bytes, in whatever order and flushes they came', async () => {
  await withFolder(async (dir) => {
    const files: Buffer[] = [];
    for (const { step, flushEvery } of [
      { step: 1, flushEvery: 800 },
      { step: 7, flushEvery: 57 },
    ]) {
      const index = await BlockIndex.create(dir, options);
      for (let i = 0; i < 2000; i++) {
        const n = (i * step) % 2000;
        index.addCount(idOf(n % 700), n % 3 === 0 ? -2 : 1);
        index.addCopy(idOf(n % 900), {
          pack: n % 5,
          frame: n % 7,
          slot: n % 3,
          share: 100 + (n % 5),
        });
        if (i % flushEvery === 0) await index.flush(at(i), {});
      }
      await index.flush(at(1), {});
      await index.mergeAll();
      const name = (await readdir(dir)).find((file) => file.endsWith('.run'));
      files.push(await readFile(join(dir, name!)));
      await index.close();
    }
    assert(files[0]!.equals(files[1]!));
  });
});

test('a merge drops what is gone, but no more than the last flush knew', async () => {
  await withFolder(async (dir) => {
    const gone = new Set<number>();
    const index = await BlockIndex.create(dir, {
      ...options,
      isPackGone: (pack) => gone.has(pack),
    });
    for (let i = 0; i < 300; i++)
      index.addCopy(idOf(i), { pack: i % 3, frame: 0, slot: 0, share: 1 });
    for (let i = 0; i < 300; i += 2) index.addCount(idOf(i), 1);
    await index.flush(at(1), {});
    gone.add(0);
    await index.mergeAll();
    assert.equal(index.stats.recordCount, 300);
    await index.flush(at(2), {});
    await index.mergeAll();
    assert.equal(index.stats.recordCount, 250, 'counts of lost copies stay');
    for (let i = 0; i < 300; i += 2) index.addCount(idOf(i), -1);
    await index.flush(at(3), {});
    await index.mergeAll();
    assert.equal(index.stats.recordCount, 200);
    gone.add(1).add(2);
    await index.flush(at(4), {});
    await index.mergeAll();
    assert.deepEqual(index.stats, {
      runCount: 0,
      recordCount: 0,
      memtableRecords: 0,
      sizeBytes: 0,
    });
    await index.close();
  });
});

test('findMany answers for every id, in the order of ids', async () => {
  await withFolder(async (dir) => {
    const { index } = await filled(dir, { idCount: 400 });
    const ids = Buffer.concat(Array.from({ length: 600 }, (_, i) => idOf(i)));
    const [into, found] = [newFound(), newFound()];
    const seen = new Set<number>();
    index.findMany(ids, into, (i) => {
      seen.add(i);
      assert.deepEqual(knownOf(into), knownOf(index.find(idOf(i), found)));
    });
    assert.equal(seen.size, 600);
    await index.close();
  });
});

test('counts keep 48 bits, and one more is a bug', async () => {
  await withFolder(async (dir) => {
    const index = await BlockIndex.create(dir, options);
    for (const [i, count] of [2 ** 47 - 1, -(2 ** 47), 2 ** 31, -1].entries()) {
      index.addCount(idOf(i), count);
      await index.flush(at(i), {});
      assert.equal(index.find(idOf(i), newFound()).count, count);
    }
    index.addCount(idOf(9), 2 ** 47);
    await assert.rejects(index.flush(at(9), {}), { name: 'AssertionError' });
    await index.close();
  });
});

test('an index that is not there is told from one that is damaged', async () => {
  await withFolder(async (dir) => {
    const isAbsent = (error: unknown): boolean =>
      isHoldfastError(error, 'IndexDamaged') && error.details['reason'] === 'absent';
    await assert.rejects(BlockIndex.open(dir, options), isAbsent);
    await (await BlockIndex.create(dir, options)).close();
    await writeFile(join(dir, 'manifest'), 'x');
    await assert.rejects(
      BlockIndex.open(dir, options),
      (error) => !isAbsent(error) && isHoldfastError(error, 'IndexDamaged'),
    );
  });
});

test('a rebuilt index takes the place of the old one', async () => {
  await withFolder(async (dir) => {
    await (await filled(dir, { idCount: 200 })).index.close();
    const { index, model } = await filled(`${dir}.new`, { idCount: 300 });
    await index.moveTo(dir);
    await index.mergeAll();
    assertAnswers(index, model);
    await index.close();
    const again = await BlockIndex.open(dir, options);
    assertAnswers(again, model);
    assert.deepEqual(await readdir(join(dir, '..')), ['index']);
    await again.close();
  });
});
