/** Whether data that is there is charged for (R75, R61; M25, M33, M34, M36). Pure. */
import { DAY_MS } from './utc-days.ts';

/** R61: so many of the last days of soft delete. */
const FREE_DAYS = 14;

/** Null of an item that is not soft-deleted; ms. */
export type SoftDeletion = { readonly deletedAt: number | null; readonly purgeAt: number | null };

/**
 * Whatever the protection's state: data that is retained is charged for; soft-deleted data is not in the last 14 days
 * before its end, and not after it, until the job that deletes it is done.
 */
export function isCharged({ deletedAt, purgeAt }: SoftDeletion, atMs: number): boolean {
  if (deletedAt === null || purgeAt === null || atMs < deletedAt) return true;
  return !isInFreeDays(purgeAt, atMs);
}

/** @param until when soft delete ends, of an item or of one of its points (R24). */
export function isInFreeDays(until: number, atMs: number): boolean {
  return atMs >= until - FREE_DAYS * DAY_MS;
}
