/**
 * The index with all that belongs to it in the main thread: pack table, copy rules, reader, applier.
 * Follows the log through `apply`; gives lookups, and views for worker threads.
 */
import { HoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { BlockIndex, newFound, type IndexSnapshot } from '../block-index/index.ts';
import type { Effect } from '../history/fold.ts';
import type { FoldedEntry } from '../history/history.ts';
import type { RepositoryState } from '../history/state.ts';
import type { Keyring } from '../keys/keyring.ts';
import type { PackFooter } from '../pack/pack-footer.ts';
import { BlockReader, type DamagedCopy } from '../reading/block-reader.ts';
import { CopyRules } from '../reading/copy-rules.ts';
import type { IndexViewData } from '../writing/session-thread.ts';
import { Applier, type AppliedState, type MergeCounts } from './applier.ts';
import { readMarks } from './marked-slots.ts';
import { PackTable } from './pack-table.ts';

const REMEMBERED_ENTRIES = 64;

export type KeeperOptions = {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  /** The state that the log has given; it moves on with the log. */
  readonly state: RepositoryState;
  /** Brings the log up to date, when a reader met a pack that is gone. */
  readonly refresh: () => Promise<boolean>;
  readonly onDamage: (damage: DamagedCopy) => void;
  /** Whether marks matter: only to who writes. */
  readonly followsMarks: boolean;
  readonly memtableRecords?: number;
};

export type CopyPlace = {
  /** The pack's number. */
  readonly number: number;
  readonly frame: number;
  readonly slot: number;
};

export type CountingPlace = {
  readonly pack: number;
  readonly frame: number;
  readonly slot: number;
  readonly share: number;
  readonly count: number;
};

export class IndexKeeper {
  readonly #options: KeeperOptions;
  readonly #packs: PackTable;
  readonly #rules: CopyRules;
  readonly #applier: Applier;
  readonly #found = newFound();
  readonly #remembered = new Map<string, PackFooter>();
  readonly index: BlockIndex;
  readonly reader: BlockReader;
  /** What the newest entries did, by number. */
  readonly #applied = new Map<number, MergeCounts>();
  #failure: unknown;

  private constructor(
    options: KeeperOptions,
    parts: { readonly index: BlockIndex; readonly packs: PackTable; readonly rules: CopyRules },
  ) {
    const { index, packs, rules } = parts;
    this.#options = options;
    this.index = index;
    this.#packs = packs;
    this.#rules = rules;
    this.reader = this.newReader();
    const saved = index.position.number < 0 ? undefined : (index.callerState as AppliedState);
    this.#applier = new Applier(
      {
        index,
        packs,
        rules,
        pages: this.reader.unrefreshed,
        footer: (pack) => this.footer(pack),
        damageOf: (pack) => options.state.damage.get(pack) ?? [],
      },
      index.position,
      saved,
    );
  }

  /**
   * Opens the index in `dir`; `options.state` must be the state at the index's position (`positionOf`).
   *
   * @throws {HoldfastError} `IndexDamaged`.
   */
  static async open(dir: string, options: KeeperOptions): Promise<IndexKeeper> {
    return IndexKeeper.#with(options, (isPackGone) => BlockIndex.open(dir, isPackGone));
  }

  /** Begins an empty index in `dir`. */
  static async create(dir: string, options: KeeperOptions): Promise<IndexKeeper> {
    return IndexKeeper.#with(options, (isPackGone) => BlockIndex.create(dir, isPackGone));
  }

  static async #with(
    options: KeeperOptions,
    open: (indexOptions: {
      isPackGone: (pack: number) => boolean;
      memtableRecords?: number;
    }) => Promise<BlockIndex>,
  ): Promise<IndexKeeper> {
    let packs = new PackTable();
    const { memtableRecords } = options;
    const index = await open({
      isPackGone: (pack) => packs.isGone(pack),
      ...(memtableRecords === undefined ? {} : { memtableRecords }),
    });
    const rules = new CopyRules();
    if (index.position.number >= 0) {
      packs = PackTable.fromJson((index.callerState as AppliedState).packs);
      for (const [number, id] of packs.ids()) {
        rules.addPack(number, id, options.state.damage.get(id) ?? []);
      }
    }
    return new IndexKeeper(options, { index, packs, rules });
  }

  /** A reader with empty caches. */
  newReader(): BlockReader {
    const { keyring, store, refresh, onDamage } = this.#options;
    return new BlockReader({
      keyring,
      store,
      find: (id, into) => this.index.find(id, into),
      rules: () => this.#rules,
      refresh,
      onDamage,
    });
  }

  get isIncomplete(): boolean {
    return this.#applier.isIncomplete;
  }

  /** Packs whose footer could not be read. */
  get unreadablePacks(): ReadonlySet<string> {
    return this.#applier.unreadablePacks;
  }

  get packs(): PackTable {
    return this.#packs;
  }

  get rules(): CopyRules {
    return this.#rules;
  }

  /** Blocks owned, by `chain/point`. */
  ownedByPoint(): Iterable<readonly [string, number]> {
    return this.#applier.saved().owned;
  }

  ownedBlocks(chain: string, point: string): number {
    return this.#applier.ownedBlocks(chain, point);
  }

  /**
   * Follows one entry of the log. After a failure nothing more is followed: the repository must be
   * opened again, which replays from what is durable.
   */
  async apply(
    entry: FoldedEntry,
    effects: readonly Effect[],
    options: { readonly isStrict: boolean },
  ): Promise<void> {
    this.#throwFailure();
    try {
      this.#note(entry.number, await this.#applier.apply(entry, effects, options));
      for (const effect of effects) {
        if (effect.type !== 'packs-added') continue;
        for (const pack of effect.packs) this.#remembered.delete(pack);
      }
      const isMark = entry.type === 'mark' || entry.type === 'doomed';
      if (isMark && !options.isStrict) await this.loadMarks();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #note(number: number, counts: MergeCounts): void {
    this.#applied.set(number, counts);
    this.#applied.delete(number - REMEMBERED_ENTRIES);
  }

  /** What entry `number` did, if it is one of the newest. */
  appliedBy(number: number): MergeCounts {
    return this.#applied.get(number) ?? { merged: 0, deleted: 0, freedBytes: 0 };
  }

  #throwFailure(): void {
    if (this.#failure === undefined) return;
    throw new HoldfastError('IndexDamaged', 'the index stopped following the log: open it again', {
      cause: this.#failure,
    });
  }

  /** Takes the open marks of the state into account; done once after opening, then by `apply`. */
  async loadMarks(): Promise<void> {
    if (!this.#options.followsMarks) return;
    this.#rules.setMarks(
      await readMarks(this.#options.state, {
        numberOf: (pack) => this.#packs.numberOf(pack),
        footer: (pack) => this.footer(pack),
        onDamage: this.#options.onDamage,
      }),
    );
  }

  /** Keeps a footer in memory until its pack is in the index. */
  remember(footer: PackFooter): void {
    this.#remembered.set(footer.packId.toString('hex'), footer);
  }

  /** @throws {HoldfastError} `ObjectNotFound`, `ObjectDamaged`. */
  async footer(pack: string): Promise<PackFooter> {
    const remembered = this.#remembered.get(pack);
    if (remembered !== undefined) return remembered;
    const { state } = this.#options;
    const known = state.packs.get(pack) ?? state.doomed.get(pack);
    return this.reader.footers.footer({
      packId: Buffer.from(pack, 'hex'),
      kind: known?.kind,
      sizeBytes: known?.sizeBytes,
    });
  }

  /** Whether a writer may rely on what is stored of the id. */
  isFindable(id: Buffer): boolean {
    return this.#rules.isFindable(this.index.find(id, this.#found));
  }

  /** Whether the id can be read from some copy that is not known to be damaged. */
  isReadable(id: Buffer): boolean {
    return this.#rules.hasReadable(this.index.find(id, this.#found));
  }

  /** Stored bytes of the counting copy and placements of an id. */
  stored(id: Buffer): { readonly share: number; readonly count: number } {
    const found = this.#found;
    this.index.find(id, found);
    const at = this.#rules.countingCopy(found);
    return { share: at < 0 ? 0 : found.shares[at]!, count: found.count };
  }

  /** Where the copy lies that counts for the id. */
  countingPlace(id: Buffer): CountingPlace | undefined {
    const found = this.index.find(id, this.#found);
    const at = this.#rules.countingCopy(found);
    if (at < 0) return undefined;
    const [pack, frame, slot] = [found.packs[at]!, found.frames[at]!, found.slots[at]!];
    return { pack, frame, slot, share: found.shares[at]!, count: found.count };
  }

  /** Whether the copy at `place` is the one that counts. */
  isCounting(id: Buffer, place: CopyPlace): boolean {
    const counting = this.countingPlace(id);
    return (
      counting !== undefined &&
      counting.pack === place.number &&
      counting.frame === place.frame &&
      counting.slot === place.slot
    );
  }

  /** Whether some point needs the copy at `place`. */
  isAlive(id: Buffer, place: CopyPlace): boolean {
    return this.isCounting(id, place) && this.stored(id).count > 0;
  }

  /** Makes all that is applied durable. Only inside the history's turn. */
  async flush(): Promise<void> {
    this.#throwFailure();
    const isDurable =
      this.index.stats.memtableRecords === 0 &&
      this.index.position.number === this.#applier.position.number;
    if (!isDurable) await this.#applier.flush();
  }

  /** The durable index for another thread; `flush` first, `release` when the thread has opened it. */
  view(): IndexViewData & { readonly snapshot: IndexSnapshot } {
    return { snapshot: this.index.snapshot(), rules: this.#rules.toData() };
  }

  release(view: IndexViewData): Promise<void> {
    return this.index.release(view.snapshot);
  }

  close(): Promise<void> {
    return this.index.close();
  }
}
