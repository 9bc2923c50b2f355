/**
 * Walks one or more maps side by side, depth first, entries ascending, loading only what its visitor
 * asks for. Every walk over maps is one of these with another visitor.
 *
 *     advance ─┬─► 'load'    a page is not at hand: await load(), then advance again
 *              ├─► 'turn'    many pages were at hand: let the event loop run, then advance again
 *              ├─► 'paused'  the visitor asked for a pause after a leaf
 *              └─► 'done'
 *
 * Between loads it is synchronous, so pages at hand cost no promise. It holds one page a map and
 * level, whatever the disk's size.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import {
  ID_BYTES,
  PAGE_BYTES,
  PAGE_ENTRIES,
  ROOT_LEVEL,
  ZERO_PAGE,
  entryOf,
  isZeroEntry,
  sameEntry,
} from './page.ts';
import type { PageSource } from './placement.ts';

/** The pages of all maps at one place; undefined where a map is missing altogether. */
export type PageRow = readonly (Buffer | undefined)[];

export type PagePlace = { readonly level: number; readonly number: number };

export type Visitor = {
  /**
   * Called for an entry that is the id of a page, before anything below it.
   *
   * @param pages what holds the entry: pages of level `child.level + 1`, or the roots' ids alone.
   * @returns whether to go below it.
   */
  readonly enter: (pages: PageRow, entry: number, child: PagePlace) => boolean;
  /** Called for pages of level 0. @returns true to pause. */
  readonly leaf: (pages: PageRow, leafNumber: number) => boolean;
};

export type DescentOptions = {
  readonly pages: PageSource;
  /** Ids of the roots, 16 bytes each; undefined: the map is missing. */
  readonly roots: PageRow;
  readonly visitor: Visitor;
};

type Child = Buffer | undefined;

/** `row` holds the children of the maps before. */
type ChildRequest<T> = {
  readonly above: PageRow;
  readonly entry: number;
  readonly row: readonly T[];
};

type Level = PagePlace & { readonly pages: PageRow; nextEntry: number };

/** Pages between two looks at the event loop: a few milliseconds. */
const PAGES_A_TURN = 1024;

export class Descent {
  readonly #source: PageSource;
  readonly #visitor: Visitor;
  readonly #path: Level[] = [];
  /** Where the next page that was asked for lies, between 'load' and `load`. */
  #wanted:
    | { readonly above: PageRow; readonly entry: number; readonly place: PagePlace }
    | undefined;
  #pagesThisTurn = 0;

  constructor({ pages, roots, visitor }: DescentOptions) {
    for (const root of roots) assert(root === undefined || root.length === ID_BYTES, 'root');
    this.#source = pages;
    this.#visitor = visitor;
    this.#push(roots, { level: ROOT_LEVEL + 1, number: 0 });
  }

  advance(): 'load' | 'turn' | 'paused' | 'done' {
    assert(this.#wanted === undefined, 'load first');
    for (let top = this.#path.at(-1); top !== undefined; top = this.#path.at(-1)) {
      if (this.#pagesThisTurn >= PAGES_A_TURN) {
        this.#pagesThisTurn = 0;
        return 'turn';
      }
      if (top.level === 0) {
        this.#path.pop();
        if (this.#visitor.leaf(top.pages, top.number)) return 'paused';
      } else if (top.nextEntry === entriesOf(top)) {
        this.#path.pop();
      } else if (!this.#step(top)) {
        return 'load';
      }
    }
    return 'done';
  }

  /** Loads what `advance` returned 'load' for. @throws as `PageSource.page`. */
  async load(): Promise<void> {
    assert(this.#wanted !== undefined, 'nothing to load');
    const { above, entry, place } = this.#wanted;
    const row: (Child | Promise<Buffer>)[] = [];
    for (let map = 0; map < above.length; map++) {
      const child = this.#child({ above, entry, row });
      row.push(child === 'elsewhere' ? this.#source.page(idIn(above[map], entry)) : child);
    }
    this.#push(await Promise.all(row.map(async (child) => child)), place);
    this.#wanted = undefined;
  }

  /** Runs to the end; `resume` is awaited at each pause. */
  async finish(resume?: () => Promise<void> | undefined): Promise<void> {
    for (let state = this.advance(); state !== 'done'; state = this.advance()) {
      if (state === 'load') await this.load();
      else if (state === 'turn') await setImmediate();
      else await resume?.();
    }
  }

  /** Runs till the visitor asks for a pause. @returns false at the end. */
  async untilPaused(): Promise<boolean> {
    for (let state = this.advance(); state !== 'done'; state = this.advance()) {
      if (state === 'paused') return true;
      await (state === 'load' ? this.load() : setImmediate());
    }
    return false;
  }

  /** One entry of a page. @returns false if pages below it must be loaded. */
  #step(top: Level): boolean {
    const entry = top.nextEntry++;
    const place = { level: top.level - 1, number: top.number * PAGE_ENTRIES + entry };
    if (!this.#visitor.enter(top.pages, entry, place)) return true;
    const row: Child[] = [];
    while (row.length < top.pages.length) {
      const child = this.#child({ above: top.pages, entry, row });
      if (child === 'elsewhere') {
        this.#wanted = { above: top.pages, entry, place };
        return false;
      }
      row.push(child);
    }
    this.#push(row, place);
    return true;
  }

  /** The page below an entry of the next map of the row, if it is at hand. */
  #child<T>({ above, entry, row }: ChildRequest<T>): Child | T | 'elsewhere' {
    const page = above[row.length];
    if (page === undefined) return undefined;
    if (isZeroEntry(page, entry)) return ZERO_PAGE;
    for (const [map, child] of row.entries()) if (sameEntry(above[map], page, entry)) return child;
    return this.#source.cached(entryOf(page, entry)) ?? 'elsewhere';
  }

  #push(pages: PageRow, place: PagePlace): void {
    for (const page of pages) {
      assert(page === undefined || place.level > ROOT_LEVEL || page.length === PAGE_BYTES, 'page');
    }
    this.#pagesThisTurn++;
    this.#path.push({ ...place, pages, nextEntry: 0 });
  }
}

function entriesOf({ level }: PagePlace): number {
  // Above the root there is a page of one entry: the root.
  return level > ROOT_LEVEL ? 1 : PAGE_ENTRIES;
}

function idIn(page: Buffer | undefined, entry: number): Buffer {
  assert(page !== undefined);
  return entryOf(page, entry);
}
