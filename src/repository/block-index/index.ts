/** The block index: a local log-structured table, id → copies and placement count. See block-index.ts. */
export { BlockIndex } from './block-index.ts';
export type { IndexEntry } from './entries-of.ts';
export { type IndexSnapshot } from './index-reader.ts';
export { newFound, type Found } from './found.ts';
