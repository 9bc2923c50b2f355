/**
 * A VM's backup again where what its snapshot holds is not enough: QEMU had copied only what changed, and the
 * point before cannot be read, or its tracking is not trusted. The next snapshot copies all of that disk.
 */
import { isHoldfastError } from '#base';

/** By disk, why no bitmap may be used. */
export type Distrusted = ReadonlyMap<string, string>;

/** Runs `backUp`, with one more disk each time that it throws `HintUnusable`; once for each disk. */
export async function againWhole<Result>(
  warn: (message: string) => void,
  backUp: (distrusted: Distrusted) => Promise<Result>,
): Promise<Result> {
  const distrusted = new Map<string, string>();
  for (;;) {
    try {
      return await backUp(distrusted);
    } catch (error) {
      const disk = isHoldfastError(error, 'HintUnusable') ? error.details['disk'] : undefined;
      if (typeof disk !== 'string' || distrusted.has(disk)) throw error;
      const { message } = error as Error;
      distrusted.set(disk, message);
      warn(`${message}; the backup begins again, and copies all of it`);
    }
  }
}
