/**
 * What a `MemoryDisk` holds and how its faults happen: every call of every process goes through `call`.
 */
import { HoldfastError } from '#base';
import type { ListedObject } from './object-store.ts';
import {
  hasEffect,
  isDeadly,
  seededHash,
  type FaultKind,
  type FaultPlan,
  type ListingMode,
} from './store-faults.ts';

const STALE_CHANGES = 8;
const PARTIAL_ONE_IN = 3;

export type UnfinishedObject = { readonly name: string; readonly chunks: Buffer[] };

/** One life of a process: its stores die together. */
export type ProcessLife = { dead: boolean };

export class FaultyMemory {
  /** Finished objects. Tests may look, and tamper, as whoever holds a real disk may. */
  readonly objects = new Map<string, Buffer>();
  readonly unfinished = new Set<UnfinishedObject>();
  listing: ListingMode;
  readonly #seed: number;
  #plan: FaultPlan | undefined;
  #callCount = 0;
  #life: ProcessLife = { dead: false };
  #listed = new Map<string, number>();
  #unlisted: { readonly name: string; readonly sizeBytes: number | undefined }[] = [];
  #listingCount = 0;

  constructor(options: { readonly seed?: number; readonly listing?: ListingMode } = {}) {
    this.#seed = options.seed ?? 1;
    this.listing = options.listing ?? 'complete';
  }

  /** Calls since the disk was made or the plan was set: run once without faults to learn how many. */
  get callCount(): number {
    return this.#callCount;
  }

  get plan(): FaultPlan | undefined {
    return this.#plan;
  }

  /** Setting it, also to undefined, starts counting calls anew. */
  set plan(plan: FaultPlan | undefined) {
    this.#plan = plan;
    this.#callCount = 0;
  }

  /** The process that lives now. */
  get life(): ProcessLife {
    return this.#life;
  }

  /** Kills the living process and starts another, without faults. */
  restart(): void {
    this.#life.dead = true;
    this.#life = { dead: false };
    this.plan = undefined;
  }

  /** Ends the process and the power: whatever was not committed is lost. */
  losePower(): void {
    this.#life.dead = true;
    this.unfinished.clear();
  }

  /** Flips one bit of a finished object at rest; the place follows from the seed unless it is given. */
  flipBit(name: string, bit?: number): void {
    const bytes = this.objects.get(name);
    if (bytes !== undefined) flip(bytes, bit ?? seededHash(this.#seed, name));
  }

  /**
   * One counted call of a store: dies, fails or goes wrong as planned, else has its effect.
   *
   * @param call.torn what the call leaves behind where its fault tears it.
   */
  async call<T>(life: ProcessLife, call: MemoryCall<T>): Promise<T> {
    await Promise.resolve(); // As with any real store, nothing has happened when the call returns.
    if (life.dead) throw failure(call, 'the process is dead');
    this.#callCount += 1;
    if (this.#plan?.atCall !== this.#callCount) return call.effect();
    const { kind } = this.#plan;
    if (isDeadly(kind)) life.dead = true;
    if (kind === 'powerLoss') this.unfinished.clear();
    if (kind === 'torn') call.torn?.('hidden');
    if (kind === 'tornVisible') call.torn?.('visible');
    return this.#finish(kind, call);
  }

  #finish<T>(kind: FaultKind, call: MemoryCall<T>): T {
    if (kind === 'full') {
      throw new HoldfastError(
        'StoreFull',
        `no space left in the store: ${call.method} ${call.name}`,
      );
    }
    if (!hasEffect(kind)) throw failure(call, kind);
    const result = call.effect();
    if (kind === 'bitFlip' && Buffer.isBuffer(result)) {
      flip(result, seededHash(this.#seed, call.name));
    }
    if (kind === 'bitFlipAtRest') this.flipBit(call.name);
    if (kind === 'failAfter' || kind === 'transientAfter') throw failure(call, kind);
    return result;
  }

  put(name: string, bytes: Buffer): void {
    this.objects.set(name, bytes);
    this.#changed(name, bytes.length);
  }

  remove(name: string): void {
    if (this.objects.delete(name)) this.#changed(name, undefined);
  }

  /** What a listing shows now, in an order nobody should rely on. */
  listed(prefix: string): ListedObject[] {
    this.#listingCount += 1;
    const round = this.#seed + this.#listingCount;
    const shown =
      this.listing === 'stale'
        ? [...this.#listed].map(([name, sizeBytes]) => ({ name, sizeBytes }))
        : [...this.objects].map(([name, bytes]) => ({ name, sizeBytes: bytes.length }));
    return shown
      .filter(({ name }) => name.startsWith(prefix))
      .map((object) => ({ object, rank: seededHash(round, object.name) }))
      .filter(({ rank }) => this.listing !== 'partial' || rank % PARTIAL_ONE_IN !== 0)
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ object }) => object);
  }

  #changed(name: string, sizeBytes: number | undefined): void {
    this.#unlisted.push({ name, sizeBytes });
    if (this.#unlisted.length <= STALE_CHANGES) return;
    const oldest = this.#unlisted.shift();
    if (oldest === undefined) return;
    if (oldest.sizeBytes === undefined) this.#listed.delete(oldest.name);
    else this.#listed.set(oldest.name, oldest.sizeBytes);
  }
}

export type MemoryCall<T> = {
  readonly method: string;
  readonly name: string;
  readonly effect: () => T;
  readonly torn?: (where: 'hidden' | 'visible') => void;
};

function failure(call: MemoryCall<unknown>, why: string): HoldfastError {
  return new HoldfastError('StoreFailed', `${call.method} ${call.name}: ${why}`);
}

function flip(bytes: Buffer, bit: number): void {
  if (bytes.length === 0) return;
  const index = (bit >>> 3) % bytes.length;
  bytes[index] = (bytes[index] ?? 0) ^ (1 << (bit & 7));
}
