/** Finds the last block of a disk that is not zero, from the end of its map: one page a level, as a rule. */
import { isHoldfastError } from '#base';
import type { PagePlace } from './descent.ts';
import {
  PAGE_ENTRIES,
  ROOT_LEVEL,
  blocksUnder,
  entryOf,
  isZeroEntry,
  isZeroId,
  type BlockRange,
} from './page.ts';
import type { PageSource } from './placement.ts';

export type LastBlock = {
  readonly block: number;
  /** False: a page cannot be read, and the block may be any up to this one. */
  readonly isReadable: boolean;
};

type Search = {
  readonly pages: PageSource;
  /** Ascending and disjoint, none empty. */
  readonly within: readonly BlockRange[];
};

/**
 * The last block in `within` that is not zero; undefined: there is none. Pages are read only where `within`
 * reaches below them, so beyond one a level only pages whose blocks there all lie outside or are zero.
 *
 * @throws what `pages` throws, but for damage.
 */
export async function lastBlockWithin(
  search: Search & { readonly root: Buffer },
): Promise<LastBlock | undefined> {
  const { root } = search;
  return isZeroId(root)
    ? undefined
    : await lastBelow(search, root, { level: ROOT_LEVEL, number: 0 });
}

async function lastBelow(
  search: Search,
  id: Buffer,
  { level, number }: PagePlace,
): Promise<LastBlock | undefined> {
  const page = await readablePage(search.pages, id);
  if (page === undefined) {
    const block = lastOf(search.within, { level, number });
    return block === undefined ? undefined : { block, isReadable: false };
  }
  for (let entry = PAGE_ENTRIES - 1; entry >= 0; entry--) {
    const child = { level: level - 1, number: number * PAGE_ENTRIES + entry };
    if (isZeroEntry(page, entry) || lastOf(search.within, child) === undefined) continue;
    if (level === 0) return { block: child.number, isReadable: true };
    const found = await lastBelow(search, entryOf(page, entry), child);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readablePage(pages: PageSource, id: Buffer): Promise<Buffer | undefined> {
  try {
    return pages.cached(id) ?? (await pages.page(id));
  } catch (error) {
    if (isHoldfastError(error) && error.kind === 'corrupt') return undefined;
    throw error;
  }
}

/** The last block of `within` at or below a place; undefined: none lies there. */
function lastOf(within: readonly BlockRange[], { level, number }: PagePlace): number | undefined {
  const fromBlock = number * blocksUnder(level);
  const toBlock = fromBlock + blocksUnder(level);
  let low = 0;
  let high = within.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (within[middle]!.fromBlock < toBlock) low = middle + 1;
    else high = middle;
  }
  const end = Math.min(within[low - 1]?.toBlock ?? 0, toBlock);
  return end > fromBlock ? end - 1 : undefined;
}
