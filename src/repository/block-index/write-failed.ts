/** What a failed write of the index means to the caller. */
import { HoldfastError } from '#base';

/** @throws {HoldfastError} `StoreFull` if the disk is full, else `StoreFailed`; always throws. */
export function indexWriteFailed(cause: unknown): never {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    throw new HoldfastError('StoreFull', 'no space left for the index', { cause });
  }
  throw new HoldfastError('StoreFailed', 'the index cannot be written', { cause });
}
