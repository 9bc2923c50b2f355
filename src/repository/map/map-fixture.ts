/** What the tests of this folder share: pages in memory, maps built from scratch, seeded randomness. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ID_BYTES, LEVELS, PAGE_BYTES, PAGE_ENTRIES, ZERO_ID } from './page.ts';
import type { PageSource } from './placement.ts';

/** Block numbers to ids in hex; absent: zero. */
export type TestDisk = ReadonlyMap<number, string>;

/** Pages by id; some are at hand, some must be waited for. */
export class TestPages implements PageSource {
  readonly stored = new Map<string, Buffer>();
  reads = 0;
  readonly #atHand: 'all' | 'none' | 'half';

  constructor(atHand: 'all' | 'none' | 'half' = 'half') {
    this.#atHand = atHand;
  }

  readonly cached = (id: Buffer): Buffer | undefined => {
    const lowest = { all: 0, half: 128, none: 256 }[this.#atHand];
    return (id[15] ?? 0) < lowest ? undefined : this.#read(id);
  };

  readonly page = async (id: Buffer): Promise<Buffer> => this.#read(id);

  readonly put = (page: Buffer): Buffer => {
    assert.equal(page.length, PAGE_BYTES);
    const id = createHash('sha256').update(page).digest().subarray(0, ID_BYTES);
    this.stored.set(id.toString('hex'), Buffer.from(page));
    return id;
  };

  #read(id: Buffer): Buffer {
    const page = this.stored.get(id.toString('hex'));
    assert.ok(page, 'a page that was never put');
    this.reads++;
    return page;
  }
}

export function blockId(seed: number): string {
  return createHash('sha256')
    .update(`block ${seed}`)
    .digest('hex')
    .slice(0, 2 * ID_BYTES);
}

/** The canonical map of a disk, level by level; of less than all levels: ids by page number. */
export function buildLevels(
  pages: TestPages,
  disk: TestDisk,
  levels = LEVELS,
): Map<number, Buffer> {
  let ids: Map<number, Buffer> = new Map(
    [...disk].map(([block, id]) => [block, Buffer.from(id, 'hex')]),
  );
  for (let level = 0; level < levels; level++) {
    const above = new Map<number, Buffer>();
    for (const [number, id] of ids) {
      const parent = Math.floor(number / PAGE_ENTRIES);
      const page = above.get(parent) ?? Buffer.alloc(PAGE_BYTES);
      id.copy(page, (number % PAGE_ENTRIES) * ID_BYTES);
      above.set(parent, page);
    }
    ids = new Map([...above].map(([number, page]) => [number, pages.put(page)]));
  }
  return ids;
}

export function buildMap(pages: TestPages, disk: TestDisk): Buffer {
  return buildLevels(pages, disk).get(0) ?? ZERO_ID;
}

/** Whole numbers below `limit`, the same for the same seed. */
export function seededNumbers(seed: number): (limit: number) => number {
  let count = 0;
  return (limit) => {
    const hash = createHash('sha256').update(`${seed} ${count++}`).digest();
    return hash.readUIntBE(0, 6) % limit;
  };
}

/** Positions near each other and far apart, over all of the 64^6 blocks. */
export function somePositions(random: (limit: number) => number): number[] {
  const bases = [0, 60, 4095, 64 ** 3 - 2, 64 ** 4 + 5, 64 ** 5 * 63, 64 ** 6 - 70];
  const near = bases.flatMap((base) => [0, 1, 2, 63, 65].map((step) => base + step));
  return [...near, ...Array.from({ length: 25 }, () => random(64 ** 6))];
}

/** Changes some blocks of a disk; few ids, so that they come again at other times and places. */
export function someChanges(
  disk: TestDisk,
  random: (limit: number) => number,
  positions: number[],
): Map<number, string> {
  const changed = new Map(disk);
  for (let count = random(8); count > 0; count--) {
    const position = positions[random(positions.length)] ?? 0;
    const value = random(6);
    if (value === 0) changed.delete(position);
    else changed.set(position, blockId(value));
  }
  return changed;
}
