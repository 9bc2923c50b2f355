/**
 * M37: 8 TB at 5 % churn gives an increment of 0.4 TB, not more, and its work follows the churn. Simulated
 * on 8 TiB sparse disks with a share of real data: what is counted is in proportion to the data.
 */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { BLOCK, makeImage, MIB, noise, TIB, writeImage, type Write } from './images.ts';
import { MissionRepository, ownedOf, type MissionDisk } from './mission-repository.ts';

const CHURN = 0.05;
/** Data in pieces of 1 MiB, spread over all of the disk. */
const PIECE_BYTES = MIB;
const PIECE_BLOCKS = PIECE_BYTES / BLOCK;

type Scale = { readonly sizeBytes: number; readonly pieces: number };
type Figures = {
  readonly read: number;
  readonly changed: number;
  readonly stored: number;
  /** Objects that the increment added. */
  readonly packs: number;
};

class SparseDisk {
  readonly disk: MissionDisk;
  readonly #scale: Scale;

  constructor(location: string, scale: Scale) {
    this.disk = { name: 'data', location };
    this.#scale = scale;
  }

  async fill(): Promise<void> {
    await makeImage(this.disk.location, this.#scale.sizeBytes);
    for (let piece = 0; piece < this.#scale.pieces; piece += 1) {
      const bytes = noise(`piece ${piece}`, PIECE_BYTES);
      await writeImage(this.disk.location, [{ offset: this.#offsetOf(piece), bytes }]);
    }
  }

  /** Changes some bytes in this share of the blocks with data, evenly spread. @returns the dirty extents. */
  async churn(share: number): Promise<{ offset: number; length: number }[]> {
    const blocks = this.#scale.pieces * PIECE_BLOCKS;
    const count = Math.round(blocks * share);
    const writes = Array.from({ length: count }, (_, at): Write => {
      const block = Math.floor((at * blocks) / count);
      const offset = this.#offsetOf(Math.floor(block / PIECE_BLOCKS));
      return { offset: offset + (block % PIECE_BLOCKS) * BLOCK, bytes: noise(`${at}`, BLOCK) };
    });
    await writeImage(this.disk.location, writes);
    return writes.map(({ offset, bytes }) => ({ offset, length: bytes.length }));
  }

  /** The restored image has the same data, block for block, and its holes. */
  async assertEquals(path: string): Promise<void> {
    const images = await Promise.all([open(this.disk.location), open(path)]);
    try {
      const [stats, restored] = await Promise.all(images.map(async (image) => await image.stat()));
      assert.equal(restored!.size, stats!.size);
      const dataBytes = this.#scale.pieces * PIECE_BYTES;
      assert.ok(restored!.blocks * 512 < dataBytes * 1.05, 'holes stay holes');
      const buffers = images.map(() => Buffer.alloc(PIECE_BYTES));
      for (let piece = 0; piece < this.#scale.pieces; piece += 1) {
        const position = this.#offsetOf(piece);
        for (const [at, image] of images.entries()) {
          await image.read(buffers[at]!, 0, PIECE_BYTES, position);
        }
        assert.ok(buffers[0]!.equals(buffers[1]!), `at ${position}`);
      }
    } finally {
      for (const image of images) await image.close();
    }
  }

  #offsetOf(piece: number): number {
    const { sizeBytes, pieces } = this.#scale;
    return piece * Math.floor(sizeBytes / pieces / PIECE_BYTES) * PIECE_BYTES;
  }
}

type Increment = {
  readonly vault: MissionRepository;
  readonly image: SparseDisk;
  readonly point: string;
  readonly figures: Figures;
};

/** Backs the disk up, churns it, backs it up again. */
async function increment(
  t: TestContext,
  scale: Scale & { readonly churn: number; readonly isHinted: boolean },
): Promise<Increment> {
  const vault = await MissionRepository.create(t);
  const image = new SparseDisk(vault.path('data.raw'), scale);
  await image.fill();
  const first = await vault.backUpUnseen([image.disk], { threads: 2 });
  assert.equal(first.disks[0]!.changed, scale.pieces * PIECE_BYTES, 'the first is full');
  const before = await vault.statistics();
  const hint = await image.churn(scale.churn);
  const disks = [{ ...image.disk, ...(scale.isHinted ? { hint } : {}) }];
  const { disks: found, pointId } = await vault.backUpUnseen(disks, { threads: 2 });
  assert.deepEqual(vault.warnings, []);
  const after = await vault.statistics();
  const { read, changed } = found[0]!;
  const stored = after.storedBytes - before.storedBytes;
  const figures = { read, changed, stored, packs: after.packs - before.packs };
  return { vault, image, point: pointId, figures };
}

test('M37 an 8 TiB disk with 5 % churn gives an increment of 5 %, not more, and restores', async (t) => {
  const scale = { sizeBytes: 8 * TIB, pieces: 256 };
  const dataBytes = scale.pieces * PIECE_BYTES;
  const made = await increment(t, { ...scale, churn: CHURN, isHinted: false });
  const { vault, image, point, figures } = made;
  const churnBytes = Math.round((dataBytes * CHURN) / BLOCK) * BLOCK;
  assert.equal(figures.changed, churnBytes);
  const owner = (await vault.sizes()).find(({ id }) => id === point);
  assert.deepEqual(ownedOf(owner), { data: churnBytes }, 'what the point is charged for');
  // With the pages of the map, seals and footers, of content that does not compress.
  assert.ok(figures.stored <= churnBytes * 1.06, `${figures.stored} for ${churnBytes}`);
  assert.equal(figures.read, dataBytes, 'compared by checksum: the data is read, not the disk');
  await image.assertEquals((await vault.restore(point, ['data']))[0]!);
});

/** Of unchanged blocks, to find out whether the hint can be believed: 1 000 at random, and the last. */
const AUDIT_BLOCKS = 1001;

test('M37 the work of an increment with a hint follows the churn, not the size of disk or data', async (t) => {
  const cases = {
    large: { sizeBytes: 8 * TIB, pieces: 64, churn: CHURN },
    small: { sizeBytes: TIB / 8, pieces: 64, churn: CHURN },
    moreData: { sizeBytes: 8 * TIB, pieces: 128, churn: CHURN / 2 },
    moreChurn: { sizeBytes: 8 * TIB, pieces: 64, churn: 2 * CHURN },
  };
  const counted: Record<string, Figures> = {};
  for (const [name, scale] of Object.entries(cases)) {
    counted[name] = (await increment(t, { ...scale, isHinted: true })).figures;
  }
  const { large, small, moreData, moreChurn } = counted as Record<keyof typeof cases, Figures>;
  const churnBytes = Math.round(64 * PIECE_BLOCKS * CHURN) * BLOCK;
  const audit = AUDIT_BLOCKS * BLOCK;
  assert.deepEqual([large.changed, large.read], [churnBytes, churnBytes + audit]);
  assert.deepEqual([small.changed, small.read], [large.changed, large.read]);
  assert.deepEqual([moreData.changed, moreData.read], [large.changed, large.read]);
  assert.equal(moreChurn.changed, Math.round(64 * PIECE_BLOCKS * CHURN * 2) * BLOCK);
  assert.equal(moreChurn.read - audit, moreChurn.changed);
  for (const { packs } of [large, small, moreData, moreChurn]) assert.ok(packs <= 3, `${packs}`);
});
