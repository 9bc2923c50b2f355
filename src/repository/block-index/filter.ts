/**
 * The miss filter of a run: a blocked Bloom filter, 10 bits an id, 6 probes inside one cache line of
 * 512 bits; about 1 % of absent ids pass. The line follows from the id's first word *in order*, so a
 * run that is written in id order fills its filter from front to back.
 */
import type { Key } from './record.ts';

export const LINE_BYTES = 64;
const BITS_PER_ID = 10;

export function filterLines(idCount: number): number {
  return Math.max(1, Math.ceil((idCount * BITS_PER_ID) / (LINE_BYTES * 8)));
}

/** Lines per unit of the first word: what `addToFilter` and `filterMayHold` take as `scale`. */
export const filterScale = (lineCount: number): number => lineCount / 0x1_0000_0000;

export function addToFilter(filter: Uint32Array, scale: number, key: Key): void {
  const line = Math.floor(key[0]! * scale) * 16;
  for (let word = 1; word <= 2; word++) {
    for (let shift = 0; shift < 27; shift += 9) {
      const bit = (key[word]! >>> shift) & 511;
      filter[line + (bit >>> 5)]! |= 1 << (bit & 31);
    }
  }
}

/** False means: certainly not in the run. */
export function filterMayHold(filter: Uint32Array, scale: number, key: Key): boolean {
  const line = Math.floor(key[0]! * scale) * 16;
  const second = key[1]!;
  const third = key[2]!;
  return (
    isSet(filter, line, second) &&
    isSet(filter, line, third) &&
    isSet(filter, line, second >>> 9) &&
    isSet(filter, line, third >>> 9) &&
    isSet(filter, line, second >>> 18) &&
    isSet(filter, line, third >>> 18)
  );
}

function isSet(filter: Uint32Array, line: number, hash: number): boolean {
  return ((filter[line + ((hash >>> 5) & 15)]! >>> (hash & 31)) & 1) !== 0;
}
