/**
 * Where bytes lie: named immutable objects in a store that can make one atomically if its name is
 * free. The repository knows only `ObjectStore` (object-store.ts holds the contract); this room knows
 * nothing of what the objects mean.
 *
 * A store is a local folder, or memory with faults for tests; the other stores wrap one and have the
 * same interface, so they stack: counting over retrying over limited over a folder. To add a kind of
 * store, implement `ObjectStore`, run `object-store.contract.ts` on it, and let open-store.ts choose it.
 */
export type { ObjectStore, ObjectWriter } from './object-store.ts';
export { checkObjectName, isObjectName } from './object-name.ts';
export { openStore } from './open-store.ts';
export { CountingStore } from './counting-store.ts';
export { LimitedStore } from './limited-store.ts';
export { ReadOnlyStore } from './read-only-store.ts';
export { RetryingStore } from './retrying-store.ts';
export { MemoryDisk } from './memory-disk.ts';
export type { FaultKind, FaultPlan, ListingMode } from './store-faults.ts';
