/**
 * Point lookups over runs: filter, fences, then one page, read synchronously and checked. Pages go
 * through a small direct-mapped cache of this thread's own; no lookup allocates.
 */
import { readSync } from 'node:fs';
import { filterMayHold } from './filter.ts';
import { checkPage, PAGE_BYTES, PAGE_HEADER_BYTES, pageDamaged } from './page.ts';
import type { Found } from './found.ts';
import { compareRecord, RECORD_BYTES, type Key } from './record.ts';
import type { Run } from './run.ts';

const CACHE_PAGES = 256;
const TWO_32 = 0x1_0000_0000;

export class Lookup {
  readonly #isPackGone: (pack: number) => boolean;
  readonly #arena = Buffer.alloc(CACHE_PAGES * PAGE_BYTES);
  readonly #view = new DataView(this.#arena.buffer, this.#arena.byteOffset, this.#arena.byteLength);
  readonly #pages: Buffer[] = [];
  readonly #bodies: Buffer[] = [];
  /** serial × 2^32 + page number of what a cache slot holds; 0 = nothing. */
  readonly #held = new Float64Array(CACHE_PAGES);

  constructor(isPackGone: (pack: number) => boolean) {
    this.#isPackGone = isPackGone;
    for (let slot = 0; slot < CACHE_PAGES; slot++) {
      const at = slot * PAGE_BYTES;
      this.#pages.push(this.#arena.subarray(at, at + PAGE_BYTES));
      this.#bodies.push(this.#arena.subarray(at + 4, at + PAGE_BYTES));
    }
  }

  maybePresent(runs: readonly Run[], key: Key): boolean {
    for (let i = 0; i < runs.length; i++) {
      if (filterMayHold(runs[i]!.filter, runs[i]!.scale, key)) return true;
    }
    return false;
  }

  /** Adds every record of `key` in `runs` to `into`. @throws {HoldfastError} `IndexDamaged` */
  find(runs: readonly Run[], key: Key, into: Found): void {
    for (let i = 0; i < runs.length; i++) {
      if (filterMayHold(runs[i]!.filter, runs[i]!.scale, key)) this.#findInRun(runs[i]!, key, into);
    }
  }

  #findInRun(run: Run, key: Key, into: Found): void {
    const { pageCount } = run.meta;
    let page = firstPage(run, key);
    if (page < 0) return;
    do {
      const base = this.#load(run, page);
      const end = base + PAGE_HEADER_BYTES + this.#view.getUint32(base + 12, true) * RECORD_BYTES;
      let offset = this.#lowerBound(base + PAGE_HEADER_BYTES, end, key);
      for (; offset < end; offset += RECORD_BYTES) {
        if (compareRecord(this.#view, offset, key) !== 0) return;
        into.addRecord(this.#view, offset, this.#isPackGone);
      }
      page++;
    } while (page < pageCount && compareFence(run.fences, page, key) <= 0);
  }

  /** The first record from `start` on that is not below `key`. */
  #lowerBound(start: number, end: number, key: Key): number {
    let low = 0;
    let high = (end - start) / RECORD_BYTES;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareRecord(this.#view, start + middle * RECORD_BYTES, key) < 0) low = middle + 1;
      else high = middle;
    }
    return start + low * RECORD_BYTES;
  }

  /** The offset of the page in the arena. */
  #load(run: Run, page: number): number {
    const name = run.serial * TWO_32 + page;
    const slot = (page + run.serial * 97) & (CACHE_PAGES - 1);
    const base = slot * PAGE_BYTES;
    if (this.#held[slot] === name) return base;
    this.#held[slot] = 0;
    const where = { path: run.path, number: page };
    let bytesRead: number;
    try {
      bytesRead = readSync(run.fd, this.#arena, base, PAGE_BYTES, page * PAGE_BYTES);
    } catch (cause) {
      throw pageDamaged(where, cause);
    }
    if (bytesRead !== PAGE_BYTES) throw pageDamaged(where, undefined);
    checkPage(this.#pages[slot]!, this.#bodies[slot]!, where);
    this.#held[slot] = name;
    return base;
  }
}

function compareFence(fences: Uint32Array, page: number, key: Key): number {
  const high = fences[page * 2]! - key[0]!;
  return high === 0 ? fences[page * 2 + 1]! - key[1]! : high;
}

/**
 * The page where records of `key` begin, if there are any: the last whose fence is below it. Ids are
 * uniform, so the search starts where the key should be and gallops. −1: before the first.
 */
function firstPage({ fences, meta: { pageCount } }: Run, key: Key): number {
  const guess = Math.min(pageCount - 1, Math.floor((key[0]! * pageCount) / TWO_32));
  let low = guess;
  let high = guess;
  let step = 1;
  if (compareFence(fences, guess, key) < 0) {
    do {
      low = high;
      high += step;
      step *= 2;
    } while (high < pageCount && compareFence(fences, high, key) < 0);
    high = Math.min(high, pageCount);
  } else {
    do {
      high = low;
      low -= step;
      step *= 2;
    } while (low >= 0 && compareFence(fences, low, key) >= 0);
    low = Math.max(low, -1);
  }
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (compareFence(fences, middle, key) < 0) low = middle;
    else high = middle;
  }
  return low >= 0 ? low : compareFence(fences, 0, key) === 0 ? 0 : -1;
}
