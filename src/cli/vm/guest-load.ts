/** `vm backup --guest-load`: a guest that is busy is waited for (R44). */
import type { GuestLoadLimit } from '#backup';
import { parsePercent } from '../arguments/size.ts';
import { UsageError } from '../usage-error.ts';

export type GuestLoadOptions = {
  readonly guestLoad?: string;
  /** Minutes. */
  readonly guestWait?: number;
};

/** What Azure's extension for Linux gives a snapshot. */
const WAIT_MINUTES = 140;

/** For a backup's request. @throws {UsageError} */
export function guestLoadOf(options: GuestLoadOptions & { readonly quiesce: boolean }): {
  readonly guestLoad?: GuestLoadLimit;
} {
  const { guestLoad, guestWait, quiesce } = options;
  if (guestLoad === undefined) {
    if (guestWait === undefined) return {};
    throw new UsageError('--guest-wait is for --guest-load, which says what is waited for');
  }
  if (!quiesce) {
    throw new UsageError('--guest-load asks the guest, and --no-quiesce leaves it alone: give one');
  }
  const mostShare = parsePercent('--guest-load', guestLoad) / 100;
  return { guestLoad: { mostShare, waitMs: (guestWait ?? WAIT_MINUTES) * 60_000 } };
}
