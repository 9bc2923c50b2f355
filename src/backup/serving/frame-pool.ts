/**
 * Frames for a served point: opened and checked in worker threads, which put them into cells of shared
 * memory; the last used ones stay.
 *
 *     free ──frame──► opening ──► kept (users > 0: not to be reused) ──last release──► kept, idle ─┐
 *      ▲                 └─ failed ─► free                                                         │
 *      └─────────────────────── the least recently used, when another frame needs a cell ◄─────────┘
 */
import assert from 'node:assert/strict';
import type { Crew } from '../threads/crew.ts';
import type { ServeWorkerCalls } from './serve-calls.ts';

/** A frame in its cell: it stays as it is until it is released. */
export type PoolFrame = {
  readonly raw: Buffer;
  /** Of its slots, 16 bytes each; each slot has been checked against its own. */
  readonly ids: Buffer;
};

type Place = { readonly packId: Buffer; readonly frame: number };
type Cell = { readonly offset: number };
type Entry = { readonly key: string; readonly frame: Promise<PoolFrame>; users: number };

/** What a client of four connections has under way, and half of it ahead. */
const POOL_BYTES = 96 * 1024 * 1024;
const LEAST_CELLS = 8;

export class FramePool {
  readonly cells: SharedArrayBuffer;
  readonly #crew: Crew<ServeWorkerCalls>;
  readonly #cellBytes: number;
  /** Frames asked of each thread and not yet given. */
  readonly #busy: number[];
  readonly #free: Cell[];
  /** Opening or in use. */
  readonly #used = new Map<string, Entry>();
  /** Kept and idle, in order of last use. */
  readonly #idle = new Map<string, { readonly entry: Entry; readonly cell: Cell }>();
  readonly #cellOf = new Map<Entry, Cell>();
  readonly #entryOf = new WeakMap<PoolFrame, Entry>();
  readonly #waiting: ((cell: Cell) => void)[] = [];

  /** `frameBytes`: the most that a frame may have. */
  constructor(crew: Crew<ServeWorkerCalls>, frameBytes: number) {
    const count = Math.max(LEAST_CELLS, Math.floor(POOL_BYTES / frameBytes));
    this.#crew = crew;
    this.#cellBytes = frameBytes;
    this.#busy = crew.ports.map(() => 0);
    this.cells = new SharedArrayBuffer(count * frameBytes);
    this.#free = Array.from({ length: count }, (_, at) => ({ offset: at * frameBytes }));
  }

  /**
   * The frame at `place`; the caller releases it, and holds none while it waits for one.
   *
   * @throws as `FrameOpener.whole`; a failure is not kept.
   */
  async frame(place: Place): Promise<PoolFrame> {
    const key = keyOf(place);
    const entry = this.#take(key) ?? this.#begin(key, place);
    entry.users += 1;
    return await entry.frame;
  }

  /** Has the frame opened if there is room to spare. */
  prefetch(place: Place): void {
    const key = keyOf(place);
    if (this.#used.has(key) || this.#idle.has(key)) return;
    if (this.#free.length === 0 && this.#idle.size <= this.#used.size) return;
    const entry = this.#begin(key, place);
    entry.users += 1;
    entry.frame.then(
      (frame) => this.release(frame),
      () => undefined, // Whoever wants the frame finds out.
    );
  }

  release(frame: PoolFrame): void {
    const entry = this.#entryOf.get(frame);
    assert(entry !== undefined && entry.users > 0, 'a frame is released once');
    entry.users -= 1;
    if (entry.users > 0) return;
    const cell = this.#cellOf.get(entry)!;
    this.#used.delete(entry.key);
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#cellOf.delete(entry);
      next(cell);
    } else this.#idle.set(entry.key, { entry, cell });
  }

  /** The entry if it is there, in use from now on. */
  #take(key: string): Entry | undefined {
    const idle = this.#idle.get(key);
    if (idle === undefined) return this.#used.get(key);
    this.#idle.delete(key);
    this.#used.set(key, idle.entry);
    return idle.entry;
  }

  #begin(key: string, place: Place): Entry {
    const opening = Promise.withResolvers<PoolFrame>();
    const entry: Entry = { key, frame: opening.promise, users: 0 };
    this.#used.set(key, entry);
    this.#open(entry, place).then(opening.resolve, opening.reject);
    return entry;
  }

  async #open(entry: Entry, { packId, frame }: Place): Promise<PoolFrame> {
    const cell = await this.#cell();
    this.#cellOf.set(entry, cell);
    const thread = this.#busy.indexOf(Math.min(...this.#busy));
    this.#busy[thread]! += 1;
    try {
      const asked = { packId: new Uint8Array(packId), frame };
      const room = { offset: cell.offset, limitBytes: this.#cellBytes };
      const found = await this.#crew.ports[thread]!.call('frame', { ...asked, ...room });
      const ids = Buffer.from(found.buffer, found.byteOffset, found.length);
      const opened = { raw: Buffer.from(this.cells, cell.offset, this.#cellBytes), ids };
      this.#entryOf.set(opened, entry);
      return opened;
    } catch (error) {
      this.#used.delete(entry.key);
      this.#cellOf.delete(entry);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(cell);
      else next(cell);
      throw error;
    } finally {
      this.#busy[thread]! -= 1;
    }
  }

  /** A cell for a new frame: a free one, the least recently used, or the next to be released. */
  async #cell(): Promise<Cell> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    for (const [key, { entry, cell }] of this.#idle) {
      this.#idle.delete(key);
      this.#cellOf.delete(entry);
      return cell;
    }
    return await new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}

function keyOf({ packId, frame }: Place): string {
  return `${packId.toString('latin1')}${frame}`;
}
