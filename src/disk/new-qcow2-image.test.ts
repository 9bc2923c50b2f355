/** Images that we write, judged by QEMU: `qemu-img check`, `compare`, `info`. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { alignExtents, type Extent } from './extent.ts';
import { NewQcow2Image } from './new-qcow2-image.ts';
import { openSource, openTarget } from './open-disk.ts';
import { prepareSource } from './prepare-source.ts';
import { CLUSTER_BYTES, refcountBlock, refcountTable, refcountsBehind } from './qcow2-format.ts';
import { clock, noise, readAll, run, scratch, sparseFile } from './testing/peers.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const TIB = 1024 ** 4;
const TABLE_BYTES = 512 * MIB;

type Made = { readonly path: string; readonly image: NewQcow2Image };

async function make(t: TestContext, sizeBytes: number): Promise<Made> {
  const path = join(await scratch(t), 'a.qcow2');
  const image = await NewQcow2Image.create(path, { sizeBytes, mode: 0o600 });
  t.after(async () => await image.close());
  return { path, image };
}

/** Reserves, ends reserving, and writes noise to `data` in descending order. */
async function fill(
  { path, image }: Made,
  { sizeBytes, data }: { readonly sizeBytes: number; readonly data: readonly Extent[] },
): Promise<void> {
  for (const extent of data) image.reserve(extent);
  image.reserved();
  const disk = await openTarget({ kind: 'newQcow2', path, sizeBytes, fresh: true }, { clock });
  for (const { offset, length } of data.toReversed()) {
    await disk.write(offset, noise(`${offset}`, length));
  }
  await disk.close();
}

/** A raw file with the same noise. */
async function rawOf(
  path: string,
  { sizeBytes, data }: { readonly sizeBytes: number; readonly data: readonly Extent[] },
): Promise<string> {
  const patches = data.map(({ offset, length }) => ({ offset, bytes: noise(`${offset}`, length) }));
  await sparseFile(`${path}.raw`, sizeBytes, patches);
  return `${path}.raw`;
}

type Checked = {
  readonly 'image-end-offset': number;
  readonly 'allocated-clusters'?: number;
  readonly 'check-errors': number;
  readonly leaks?: number;
  readonly corruptions?: number;
};

/** That QEMU finds nothing wrong, no leak, and the end of the image where the file ends. */
async function assertClean(path: string): Promise<Checked> {
  const output = await run('qemu-img', 'check', '--output=json', '-f', 'qcow2', path);
  const checked = JSON.parse(output) as Checked;
  assert.deepEqual(
    [checked['check-errors'], checked.leaks ?? 0, checked.corruptions ?? 0],
    [0, 0, 0],
  );
  assert.equal(checked['image-end-offset'], (await stat(path)).size);
  return checked;
}

const assertNoImage = async (path: string): Promise<void> =>
  await assert.rejects(run('qemu-img', 'info', '-f', 'qcow2', path), /not in qcow2 format/);

for (const sizeBytes of [0, 512, 700, CLUSTER_BYTES, 40 * MIB + 1536, GIB, 8 * TIB, 64 * TIB]) {
  test(`an empty image of ${sizeBytes} bytes is what qemu-img makes of that size`, async (t) => {
    const { path, image } = await make(t, sizeBytes);
    image.reserved();
    await image.finish();
    await assertClean(path);
    const theirs = `${path}.theirs`;
    await run('qemu-img', 'create', '-q', '-f', 'qcow2', theirs, String(sizeBytes));
    const facts = await Promise.all(
      [path, theirs].map(async (file) => {
        const info = JSON.parse(await run('qemu-img', 'info', '--output=json', file)) as object;
        return { ...info, filename: '', 'actual-size': 0, 'dirty-flag': false };
      }),
    );
    assert.deepEqual(facts[0], facts[1]);
  });
}

test('whatever is reserved and written, the image holds that and zeros, without an error or a leak', async (t) => {
  const folder = await scratch(t);
  const sectors = fc.record({
    at: fc.nat({ max: 999 }),
    count: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 600 })),
  });
  const disk = fc.record({
    sectorCount: fc.oneof(
      fc.integer({ min: 1, max: 20_000 }),
      // About the ends of a second and third L2 table.
      fc.integer({ min: -3, max: 130 }).map((more) => TABLE_BYTES / 512 + more),
      fc.integer({ min: -3, max: 130 }).map((more) => (2 * TABLE_BYTES) / 512 + more),
    ),
    writes: fc.array(sectors, { maxLength: 12 }),
    tail: fc.boolean(),
  });
  let number = 0;
  const holds = async ({
    sectorCount,
    writes,
    tail,
  }: typeof disk extends fc.Arbitrary<infer Value> ? Value : never): Promise<void> => {
    const sizeBytes = sectorCount * 512;
    const ends = tail ? [{ at: 999, count: 1 }] : [];
    const wanted = [...writes, ...ends].map(({ at, count }) => {
      const offset = Math.floor((sectorCount * at) / 1000) * 512;
      return { offset, length: Math.min(count * 512, sizeBytes - offset) };
    });
    const data = alignExtents(wanted, { blockBytes: 512, sizeBytes });
    const path = join(folder, `${(number += 1)}.qcow2`);
    const image = await NewQcow2Image.create(path, { sizeBytes, mode: 0o600 });
    await fill({ path, image }, { sizeBytes, data });
    await image.finish();
    await image.close();
    const { 'allocated-clusters': allocated } = await assertClean(path);
    const clusters = alignExtents(data, {
      blockBytes: CLUSTER_BYTES,
      sizeBytes: Number.MAX_SAFE_INTEGER,
    });
    assert.equal(
      allocated ?? 0,
      clusters.reduce((sum, { length }) => sum + length, 0) / CLUSTER_BYTES,
    );
    const raw = await rawOf(path, { sizeBytes, data });
    await run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', path, raw);
  };
  await fc.assert(fc.asyncProperty(disk, holds), { numRuns: 40 });
});

test('a file whose image was not finished is none that QEMU opens, whenever it was left', async (t) => {
  const sizeBytes = 20 * MIB;
  const data = [{ offset: MIB, length: 3 * MIB }];
  const made = await make(t, sizeBytes);
  await assertNoImage(made.path);
  made.image.reserve({ offset: 0, length: 4096 });
  await assertNoImage(made.path);
  await fill(made, { sizeBytes, data });
  await assertNoImage(made.path);
  await made.image.finish();
  await assertClean(made.path);
});

test('a cluster written in part reads as zeros elsewhere, while it is filled and later', async (t) => {
  const sizeBytes = 3 * CLUSTER_BYTES;
  const data = [{ offset: CLUSTER_BYTES + 4096, length: 512 }];
  const made = await make(t, sizeBytes);
  await fill(made, { sizeBytes, data });
  const spec = { kind: 'newQcow2', path: made.path, sizeBytes, fresh: true } as const;
  const disk = await openTarget(spec, { clock });
  const expected = Buffer.alloc(sizeBytes);
  noise(`${CLUSTER_BYTES + 4096}`, 512).copy(expected, CLUSTER_BYTES + 4096);
  assert.ok((await readAll(disk)).equals(expected));
  assert.deepEqual(await disk.dataExtents(), [{ offset: 0, length: sizeBytes }]);
  await disk.close();
  await made.image.finish();
  await run('qemu-img', 'compare', made.path, await rawOf(made.path, { sizeBytes, data }));
  const map = await run('qemu-img', 'map', '--output=json', made.path);
  const extents = (JSON.parse(map) as (Extent & { start: number; data: boolean })[])
    .filter((extent) => extent.data)
    .map(({ start, length }) => [start, length]);
  const within = extents.every(
    ([start, length]) => start! >= CLUSTER_BYTES && start! + length! <= 2 * CLUSTER_BYTES,
  );
  assert.ok(extents.length > 0 && within, map);
});

test('data where nothing was reserved is refused, zeros are not, nor is a place outside the disk written', async (t) => {
  const sizeBytes = 3 * CLUSTER_BYTES;
  const made = await make(t, sizeBytes);
  await fill(made, { sizeBytes, data: [{ offset: 0, length: 512 }] });
  const spec = { kind: 'newQcow2', path: made.path, sizeBytes, fresh: true } as const;
  const disk = await openTarget(spec, { clock });
  t.after(async () => await disk.close());
  await assert.rejects(disk.write(CLUSTER_BYTES, Buffer.of(1)), /nothing was reserved/);
  await disk.write(CLUSTER_BYTES, Buffer.alloc(CLUSTER_BYTES));
  await assert.rejects(disk.write(sizeBytes, Buffer.of(1)), { code: 'DiskRangeInvalid' });
  await made.image.finish();
  await assertClean(made.path);
});

test('a disk reserved from end to end has every cluster, and refcounts of several blocks', async (t) => {
  const sizeBytes = 5 * GIB - 512;
  const made = await make(t, sizeBytes);
  const data = [{ offset: 0, length: sizeBytes }];
  for (const extent of data) made.image.reserve(extent);
  made.image.reserved();
  await made.image.finish();
  assert.equal((await assertClean(made.path))['allocated-clusters'], (5 * GIB) / CLUSTER_BYTES);
});

test('few blocks on a huge disk make a small image', async (t) => {
  for (const sizeBytes of [8 * TIB, 64 * TIB]) {
    const data = [0, 1, 2, 3, 4].map((at) => ({
      offset: Math.floor((at * (sizeBytes - 4096)) / 4 / 4096) * 4096,
      length: 4096,
    }));
    const made = await make(t, sizeBytes);
    await fill(made, { sizeBytes, data });
    await made.image.finish();
    await assertClean(made.path);
    const { blocks } = await stat(made.path);
    assert.ok(blocks * 512 < 3 * MIB, `${blocks * 512} bytes`);
    const prepared = await prepareSource({ location: made.path, clock });
    t.after(async () => await prepared.close());
    const disk = await openSource(prepared.spec, { clock });
    t.after(async () => await disk.close());
    for (const { offset, length } of data) {
      const content = Buffer.alloc(length);
      await disk.read(offset, content);
      assert.ok(content.equals(noise(`${offset}`, length)), `${offset}`);
    }
    const bounds = { blockBytes: CLUSTER_BYTES, sizeBytes };
    assert.deepEqual(alignExtents(await disk.dataExtents(), bounds), alignExtents(data, bounds));
  }
});

test('refcounts count every cluster once, themselves included, with no block to spare', () => {
  const used = fc.oneof(fc.integer({ min: 1, max: 200_000 }), fc.integer({ min: 1, max: 2 ** 31 }));
  const counts = (usedClusters: number): void => {
    const refcounts = refcountsBehind(usedClusters);
    const { tableClusters, blockCount } = refcounts;
    const total = usedClusters + tableClusters + blockCount;
    assert.ok(blockCount * 32_768 >= total && (blockCount - 2) * 32_768 < total);
    assert.ok(tableClusters * 8192 >= blockCount && (tableClusters - 1) * 8192 < blockCount);
    const last = refcountBlock(refcounts, blockCount - 1);
    const ones = Array.from({ length: 32_768 }, (_, at) => last.readUInt16BE(at * 2));
    const inLast = Math.max(0, total - (blockCount - 1) * 32_768);
    assert.ok(ones.every((count, at) => count === (at < inLast ? 1 : 0)));
    const table = refcountTable(refcounts);
    const lastPlace = table.readBigUInt64BE((blockCount - 1) * 8);
    assert.equal(Number(lastPlace), (total - 1) * CLUSTER_BYTES);
  };
  fc.assert(fc.property(used, counts), { numRuns: 50 });
  // Where the counts of one more cluster need a block, and a block a table, more.
  for (const edge of [32_766, 32_767, 2 ** 28 - 8193, 2 ** 28 - 1]) counts(edge);
});
