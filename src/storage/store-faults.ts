/** What can be done to a `MemoryDisk` at one counted call, so that tests can do it at every call. */

/**
 *     kind            the call                                  the process   unfinished puts
 *     fail            has no effect, rejects StoreFailed        dies          stay
 *     failAfter       has its effect, rejects StoreFailed       dies          stay
 *     transient       has no effect, rejects StoreFailed        lives         stay
 *     transientAfter  has its effect, rejects StoreFailed       lives         stay
 *     torn            `write` adds half its bytes, others none  dies          stay
 *     powerLoss       has no effect, rejects StoreFailed        dies          are lost
 *     tornVisible     breaks the contract: half an object       dies          stay
 *                     is visible after createIfAbsent, commit
 *     bitFlip         a read returns one flipped bit            lives         stay
 *     bitFlipAtRest   the bytes of the call's object, as        lives         stay
 *                     stored, have one flipped bit after it
 *     full            has no effect, rejects StoreFull          lives         stay
 */
export type FaultKind =
  | 'fail'
  | 'failAfter'
  | 'transient'
  | 'transientAfter'
  | 'torn'
  | 'powerLoss'
  | 'tornVisible'
  | 'bitFlip'
  | 'bitFlipAtRest'
  | 'full';

/** `atCall`: the number of the call since the disk was made or `plan` was last set, from 1. */
export type FaultPlan = { readonly atCall: number; readonly kind: FaultKind };

/**
 * What listings show: everything; all but one in three objects, chosen anew each time from the seed;
 * or the state before the last eight changes, deleted objects included.
 */
export type ListingMode = 'complete' | 'partial' | 'stale';

/** Whether the process that made a call with this fault is dead afterwards. */
export function isDeadly(kind: FaultKind): boolean {
  return ['fail', 'failAfter', 'torn', 'powerLoss', 'tornVisible'].includes(kind);
}

/** Whether the call still has its effect. */
export function hasEffect(kind: FaultKind): boolean {
  return ['failAfter', 'transientAfter', 'bitFlip', 'bitFlipAtRest'].includes(kind);
}

/** A well-mixed 32-bit number that depends on nothing but its arguments (FNV-1a, then a finish). */
export function seededHash(seed: number, text: string): number {
  let hash = (2166136261 ^ seed) >>> 0;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 16777619) >>> 0;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d) >>> 0;
  return (hash ^ (hash >>> 15)) >>> 0;
}
