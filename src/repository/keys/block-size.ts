/** The block sizes that a repository may have: powers of two from 4 KiB to 4 MiB. */

import assert from 'node:assert/strict';

export const DEFAULT_BLOCK_SIZE = 16 * 1024;

const MIN_BLOCK_SIZE = 4 * 1024;
const MAX_BLOCK_SIZE = 4 * 1024 * 1024;

export function isBlockSize(sizeBytes: number): boolean {
  const inRange = sizeBytes >= MIN_BLOCK_SIZE && sizeBytes <= MAX_BLOCK_SIZE;
  return inRange && Number.isInteger(Math.log2(sizeBytes));
}

export function assertBlockSize(sizeBytes: number): void {
  assert(isBlockSize(sizeBytes), `not a block size: ${sizeBytes}`);
}
