/** The block index: a local log-structured table, id → copies and placement count. See block-index.ts. */
export { BlockIndex, type IndexEntry, type IndexOptions } from './block-index.ts';
export { IndexReader, type IndexSnapshot } from './index-reader.ts';
export { newFound, type Found } from './found.ts';
export type { IndexPosition } from './manifest.ts';
export type { Copy } from './record.ts';
