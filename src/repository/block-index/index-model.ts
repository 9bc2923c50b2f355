/** For tests: the index as a plain Map, ids by seed, and the comparison of the two. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newFound, type Found } from './found.ts';
import type { Copy } from './record.ts';

export type Known = { count: number; copies: Map<string, number> };

export class IndexModel {
  readonly ids = new Map<string, Known>();

  addCopy(id: Buffer, { pack, frame, slot, share }: Copy): void {
    this.#known(id).copies.set(`${pack}/${frame}/${slot}`, share);
  }

  addCount(id: Buffer, delta: number): void {
    this.#known(id).count += delta;
  }

  clone(): IndexModel {
    const clone = new IndexModel();
    for (const [id, { count, copies }] of this.ids) {
      clone.ids.set(id, { count, copies: new Map(copies) });
    }
    return clone;
  }

  /** What the index should say, ids without anything left out. */
  visible(isPackGone: (pack: number) => boolean): Map<string, Known> {
    const visible = new Map<string, Known>();
    for (const [id, { count, copies }] of this.ids) {
      const left = new Map(
        [...copies].filter(([place]) => !isPackGone(Number.parseInt(place, 10))),
      );
      if (count !== 0 || left.size > 0) visible.set(id, { count, copies: left });
    }
    return visible;
  }

  #known(id: Buffer): Known {
    const hex = id.toString('hex');
    const known = this.ids.get(hex) ?? { count: 0, copies: new Map<string, number>() };
    this.ids.set(hex, known);
    return known;
  }
}

export function knownOf(found: Found): Known {
  const copies = new Map<string, number>();
  for (let i = 0; i < found.copyCount; i++) {
    copies.set(`${found.packs[i]}/${found.frames[i]}/${found.slots[i]}`, found.shares[i]!);
  }
  assert.equal(copies.size, found.copyCount, 'copies are distinct');
  return { count: found.count, copies };
}

/** Every id that the model ever met, visible or not, is answered as the model says. */
export function assertAnswers(
  index: { find: (id: Buffer, into: Found) => Found; maybePresent: (id: Buffer) => boolean },
  model: IndexModel,
  isPackGone: (pack: number) => boolean = () => false,
): void {
  const visible = model.visible(isPackGone);
  const found = newFound();
  for (const hex of model.ids.keys()) {
    const id = Buffer.from(hex, 'hex');
    const expected = visible.get(hex);
    if (expected !== undefined) assert(index.maybePresent(id), hex);
    assert.deepEqual(knownOf(index.find(id, found)), expected ?? { count: 0, copies: new Map() });
  }
}

/** The id number `i`, as uniform as a real one. */
export function idOf(i: number): Buffer {
  return createHash('sha256').update(String(i)).digest().subarray(0, 16);
}

export async function withFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'block-index-'));
  try {
    await use(join(folder, 'index'));
  } finally {
    await rm(folder, { force: true, recursive: true });
  }
}
