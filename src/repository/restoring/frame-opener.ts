/**
 * Reads frames of packs in a worker thread: consecutive ones in one request, the next request under way
 * while one is opened. Every slot is checked against the id that the map has for it (invariant 7).
 */
import { freeMemory, HoldfastError, isHoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { Keyring, type KeyringData } from '../keys/keyring.ts';
import {
  checkSlot,
  checkSlots,
  openFrame,
  readFrame,
  readSealedRun,
} from '../pack/frame-reader.ts';
import { FooterCache } from '../pack/pack-caches.ts';
import { at, type FrameTable } from '../pack/pack-footer.ts';

/** What a thread needs to read a repository. Holds keys: never leaves the process. */
export type FrameOpenerData = { readonly location: string; readonly keyring: KeyringData };

/** A frame and its content, or why there is none. */
export type FrameOutcome = OpenedFrame | { readonly frame: number; readonly error: HoldfastError };

export type OpenedFrame = {
  readonly frame: number;
  readonly table: FrameTable;
  readonly raw: Buffer;
};

type FrameRun = { readonly firstFrame: number; readonly wanted: readonly number[] };

const FOOTER_CACHE_BYTES = 16 * 1024 * 1024;
const ID_BYTES = 16;
const REQUEST_BYTES = 2 * 1024 * 1024;
/** Frames not wanted are read along rather than asking twice, up to this. */
const GAP_BYTES = 128 * 1024;

export class FrameOpener {
  readonly #store: ObjectStore;
  readonly #keyring: Keyring;
  readonly #footers: FooterCache;

  constructor(store: ObjectStore, keyring: KeyringData) {
    this.#store = store;
    this.#keyring = Keyring.fromWorkerData(keyring);
    this.#footers = new FooterCache({
      store,
      keys: this.#keyring,
      limitBytes: FOOTER_CACHE_BYTES,
    });
  }

  get blockSize(): number {
    return this.#keyring.blockSize;
  }

  /**
   * Opens the frames `wanted` (ascending, each once) of a pack, in order. What is damaged or gone comes as
   * an error in its place; other failures of the store are thrown.
   */
  async *open(packId: Buffer, wanted: readonly number[]): AsyncGenerator<FrameOutcome> {
    let table: FrameTable;
    try {
      table = await this.#footers.table({ packId });
    } catch (error) {
      yield* failed(wanted, error);
      return;
    }
    const { frameCount } = table;
    const present = wanted.filter((frame) => frame < frameCount);
    const runs = runsOf(table, present);
    let reading = this.#read(table, runs[0]);
    for (const [number, run] of runs.entries()) {
      const sealed = await reading;
      reading = this.#read(table, runs[number + 1]);
      if (sealed instanceof HoldfastError) yield* failed(run.wanted, sealed);
      else {
        for (const frame of run.wanted) {
          yield this.#open(table, frame, sealed[frame - run.firstFrame]!);
        }
        freeMemory(sealed[0]!);
      }
    }
    const what = `${table.name} has ${frameCount} frames only`;
    yield* failed(wanted.slice(present.length), new HoldfastError('ObjectDamaged', what));
  }

  /**
   * The content of a slot of an opened frame.
   *
   * @throws {HoldfastError} `ObjectDamaged` if it does not have the id.
   */
  slot({ table, raw, frame }: OpenedFrame, slot: number, id: Buffer): Buffer {
    if (slot >= at(table.slotCounts, frame)) {
      throw new HoldfastError('ObjectDamaged', `${table.name}: frame ${frame} has no slot ${slot}`);
    }
    return checkSlot({ keys: this.#keyring, footer: table, frame, slot, raw, id });
  }

  /**
   * Opens one frame and checks all of its slots.
   *
   * @returns its content and the ids of its slots, 16 bytes each, in order.
   * @throws {HoldfastError} `ObjectDamaged`, `ObjectNotFound`.
   */
  async whole(
    packId: Buffer,
    frame: number,
  ): Promise<{ readonly raw: Buffer; readonly ids: Buffer }> {
    const keys = this.#keyring;
    const footer = await this.#footers.footer({ packId });
    const raw = await readFrame({ store: this.#store, keys, footer, frame });
    checkSlots({ keys, footer, frame, raw });
    const start = at(footer.firstSlots, frame) * ID_BYTES;
    return { raw, ids: footer.ids.subarray(start, at(footer.firstSlots, frame + 1) * ID_BYTES) };
  }

  /** Never rejects for what is damaged or gone, so that a run read ahead is not left unhandled. */
  async #read(
    table: FrameTable,
    run: FrameRun | undefined,
  ): Promise<readonly Buffer[] | HoldfastError> {
    if (run === undefined) return [];
    const { firstFrame, wanted } = run;
    const frameCount = wanted.at(-1)! - firstFrame + 1;
    try {
      return await readSealedRun({ store: this.#store, footer: table, firstFrame, frameCount });
    } catch (error) {
      if (isHoldfastError(error)) return error;
      throw error;
    }
  }

  #open(table: FrameTable, frame: number, sealed: Buffer): FrameOutcome {
    try {
      return {
        frame,
        table,
        raw: openFrame({ keys: this.#keyring, footer: table, frame, sealed }),
      };
    } catch (error) {
      if (isLost(error)) return { frame, error };
      throw error;
    }
  }
}

function* failed(wanted: readonly number[], error: unknown): Generator<FrameOutcome> {
  if (!isLost(error)) throw error;
  for (const frame of wanted) yield { frame, error };
}

/** Whether another copy may help. */
function isLost(error: unknown): error is HoldfastError {
  return isHoldfastError(error, 'ObjectDamaged') || isHoldfastError(error, 'ObjectNotFound');
}

/** The wanted frames in runs, each one request. */
function runsOf(table: FrameTable, wanted: readonly number[]): FrameRun[] {
  const runs: { firstFrame: number; wanted: number[] }[] = [];
  for (const frame of wanted) {
    const run = runs.at(-1);
    if (run !== undefined && mayJoin(table, run, frame)) run.wanted.push(frame);
    else runs.push({ firstFrame: frame, wanted: [frame] });
  }
  return runs;
}

function mayJoin(table: FrameTable, { firstFrame, wanted }: FrameRun, frame: number): boolean {
  const last = wanted.at(-1)!;
  const end = at(table.offsets, last) + at(table.sealedLengths, last);
  const gap = at(table.offsets, frame) - end;
  const length =
    at(table.offsets, frame) + at(table.sealedLengths, frame) - at(table.offsets, firstFrame);
  return gap <= GAP_BYTES && length <= REQUEST_BYTES;
}
