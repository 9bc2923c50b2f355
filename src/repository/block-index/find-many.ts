/** The order for looking many ids up: by id, so that pages are read front to back, and each once. */
import assert from 'node:assert/strict';
import { ID_BYTES } from './record.ts';

const LIMIT = 0x20_0000;

/** Calls `visit` for each of the 16-byte ids in `ids` (2^21 at most), in id order; `i`: its place in `ids`. */
export function findManySorted(ids: Buffer, visit: (offset: number, i: number) => void): void {
  const idCount = ids.length / ID_BYTES;
  assert(Number.isInteger(idCount) && idCount <= LIMIT);
  const order = new Float64Array(idCount);
  for (let i = 0; i < idCount; i++) order[i] = ids.readUInt32BE(i * ID_BYTES) * LIMIT + i;
  order.sort();
  for (const entry of order) visit((entry % LIMIT) * ID_BYTES, entry % LIMIT);
}
