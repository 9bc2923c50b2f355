/**
 * One thread's part of a backup session: its own view of the index, reader and block writer. Made in
 * a worker thread from plain data, or in the main thread for the pages above the units and for tests.
 */
import type { ObjectStore } from '#storage';
import { IndexReader, type IndexSnapshot } from '../block-index/index-reader.ts';
import { newFound } from '../block-index/index.ts';
import { Keyring, type KeyringData } from '../keys/keyring.ts';
import type { PageSource } from '../map/placement.ts';
import type { SealedPack } from '../pack/pack-writer.ts';
import { BlockReader, type DamagedCopy } from '../reading/block-reader.ts';
import { CopyRules, type CopyRulesData } from '../reading/copy-rules.ts';
import { BlockWriter, type WaitingFrames } from './block-writer.ts';
import { ClaimTable, type ClaimTableData } from './claims.ts';
import { UnitWriter } from './unit-writer.ts';

/** The index as of one moment, for another thread. */
export type IndexViewData = { readonly snapshot: IndexSnapshot; readonly rules: CopyRulesData };

/** All that a thread needs, by structured clone. Holds keys: never leaves the process. */
export type SessionThreadData = {
  readonly location: string;
  readonly keyring: KeyringData;
  readonly session: string;
  readonly counter: SharedArrayBuffer;
  readonly claims: ClaimTableData;
  readonly view: IndexViewData;
};

export type SessionThreadOptions = {
  readonly data: SessionThreadData;
  readonly store: ObjectStore;
  readonly onSealed: (pack: SealedPack) => void;
  /** Asks for a newer view, when a pack has been compacted away under a reader. */
  readonly requestView: () => Promise<IndexViewData>;
  /** Told when such a view has been opened: it can be released. */
  readonly onViewOpened?: () => void;
  /** Told of each copy of a page that turned out damaged; this thread uses it no more. */
  readonly onDamage?: (copy: DamagedCopy) => void;
};

export class SessionThread {
  readonly #keyring: Keyring;
  readonly #reader: BlockReader;
  readonly #writer: BlockWriter;
  #index: IndexReader;
  #rules: CopyRules;
  /** What `avoid` was told: a newer view may not know it yet. */
  readonly #avoided = new Map<string, Pick<DamagedCopy, 'pack' | 'frame'>>();

  constructor(options: SessionThreadOptions) {
    const { data, store } = options;
    this.#keyring = Keyring.fromWorkerData(data.keyring);
    this.#index = IndexReader.open(data.view.snapshot);
    this.#rules = CopyRules.from(data.view.rules);
    this.#reader = new BlockReader({
      keyring: this.#keyring,
      store,
      find: (id, into) => this.#index.find(id, into),
      rules: () => this.#rules,
      refresh: async () => {
        await this.renew(await options.requestView());
        options.onViewOpened?.();
        return true;
      },
      onDamage: (copy) => {
        this.avoid([copy]);
        options.onDamage?.(copy);
      },
    });
    const found = newFound();
    const counter = new Int32Array(data.counter);
    this.#writer = new BlockWriter({
      keyring: this.#keyring,
      store,
      session: Buffer.from(data.session, 'hex'),
      nextCounter: () => Atomics.add(counter, 0, 1),
      claims: new ClaimTable(data.claims),
      isStored: (id) =>
        this.#index.maybePresent(id) && this.#rules.isFindable(this.#index.find(id, found)),
      onSealed: options.onSealed,
    });
  }

  /** A writer for the map's units; reuse it, it keeps a block of memory. */
  unitWriter(): UnitWriter {
    return new UnitWriter({
      keyring: this.#keyring,
      writer: this.#writer,
      previous: this.#reader,
      isHealing: () => this.#rules.hasDamage,
    });
  }

  /** From now on these copies are neither read nor deduplicated against, and the thread heals. */
  avoid(copies: Iterable<Pick<DamagedCopy, 'pack' | 'frame'>>): void {
    for (const { pack, frame } of copies) {
      this.#rules.damageCopy(pack, frame);
      this.#avoided.set(`${pack}/${frame}`, { pack, frame });
    }
  }

  get blockSize(): number {
    return this.#keyring.blockSize;
  }

  /** The id of a block with this content; the id of zeros is zero. */
  blockId(content: Buffer): Buffer {
    return this.#keyring.blockId(content);
  }

  /** Pages of the points before. */
  get pages(): PageSource {
    return this.#reader;
  }

  /** Seals what is open, before the view is renewed or the session ends. */
  flush(options: { readonly sealAll: boolean }): Promise<WaitingFrames> {
    return this.#writer.finish(options);
  }

  /** From now on looks things up in a newer view. */
  async renew(view: IndexViewData): Promise<void> {
    this.#index.close();
    this.#index = IndexReader.open(view.snapshot);
    this.#rules = CopyRules.from(view.rules);
    this.avoid(this.#avoided.values());
  }

  /** Drops what is unsealed and releases the view. */
  async close(): Promise<void> {
    await this.#writer.abandon();
    this.#index.close();
  }
}
