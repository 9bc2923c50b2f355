/**
 * A disk in memory that outlives the processes using it, with faults at chosen calls
 * (store-faults.ts). For tests; deterministic: the same calls with the same seed and plan end the same.
 *
 *     const disk = new MemoryDisk();
 *     disk.plan = { atCall: 17, kind: 'fail' };
 *     …  work with disk.store() until it rejects; every later call of that store rejects too  …
 *     const store = disk.reopen();            // the next process, on what the first one left
 */
import { FaultyMemory } from './faulty-memory.ts';
import { MemoryStore } from './memory-store.ts';

export class MemoryDisk extends FaultyMemory {
  /** A store of the process that lives now. */
  store(): MemoryStore {
    return new MemoryStore(this, this.life);
  }

  /** Kills the living process and starts another, without faults; returns its first store. */
  reopen(): MemoryStore {
    this.restart();
    return this.store();
  }
}
