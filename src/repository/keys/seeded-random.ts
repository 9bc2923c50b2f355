/** A `RandomBytes` for tests: the same seed gives the same bytes. Never a source of real keys. */

import { createHash } from 'node:crypto';

import type { RandomBytes } from './random-bytes.ts';

export function seededRandom(seed: string): RandomBytes {
  let calls = 0;
  return (sizeBytes) => {
    calls += 1;
    return createHash('shake256', { outputLength: sizeBytes }).update(`${seed}/${calls}`).digest();
  };
}
