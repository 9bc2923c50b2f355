/**
 * A backup's session in the main thread: from its log entry to its end (docs/format.md §5).
 *
 * ```
 *   begin ──► open ──refresh──► open ──commit──► the point is visible
 *               │                     └──ready──► commitTogether, with others (commit-together.ts)
 *               └──cancel──► ended; what was sealed is kept, for the next session to use
 * ```
 *
 * Worker threads store blocks and units (session-thread.ts); this object logs their packs, builds the
 * pages above the units, writes the manifest and commits. Invariants 3 and 9: packs and manifest are
 * durable before the entry, the index follows it.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { LoggedDisk, LoggedPack } from '../log/log-entry.ts';
import { lastBlockWithin, type LastBlock } from '../map/last-block.ts';
import { forEachBlock, levelOneIds, pagesBelow } from '../map/map-walk.ts';
import { rewriteMap, truncateMap } from '../map/map-builder.ts';
import type { BlockRange } from '../map/page.ts';
import type { PageSource } from '../map/placement.ts';
import type { SealedPack } from '../pack/pack-writer.ts';
import type { KnownPoint } from '../history/state.ts';
import { visiblePointsOf } from '../history/state.ts';
import { type Manifest, writeManifest } from '../points/manifest.ts';
import { newPointId } from '../points/new-point-id.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { BlockWriter, type WaitingFrames } from './block-writer.ts';
import { claimCapacity, ClaimTable } from './claims.ts';
import type { ReadyPoint } from './commit-together.ts';
import type { IndexViewData, SessionThreadData } from './session-thread.ts';

const ZERO_ID = Buffer.alloc(16);

export type SessionOptions = {
  readonly item: string;
  /** Decimal digits; absent: made here. */
  readonly point?: string;
  readonly diskNames: readonly string[];
  /** By disk, the visible point that it starts from; absent: the newest that has the disk. */
  readonly bases?: ReadonlyMap<string, string>;
  /** Worker threads that will write. */
  readonly threads: number;
  /** An upper bound of the data to come, for the size of tables. */
  readonly expectedBytes: number;
};

export type DiskResult = {
  readonly name: string;
  readonly sizeBytes: number;
  /** Level-1 page number → page id, for every unit that was written. */
  readonly units: ReadonlyMap<number, Buffer>;
  readonly readBytes: number;
  readonly changedBytes: number;
  /** Uncompressed bytes of blocks and pages that were new. */
  readonly newBytes: number;
};

export type PointFacts = Pick<Manifest, 'consistency' | 'seconds' | 'vm'>;

export type CommittedPoint = { readonly manifest: Manifest; readonly storedBytes: number };

export class BackupSession {
  readonly #parts: RepositoryParts;
  readonly #options: SessionOptions & { readonly session: string; readonly pointId: string };
  readonly #counter = new SharedArrayBuffer(4);
  readonly #claims;
  readonly #claimTable: ClaimTable;
  readonly #writer: BlockWriter;
  /** Sealed and not yet in the log. */
  #unlogged: LoggedPack[] = [];
  #storedBytes = 0;
  #isOpen = true;
  /** Disks whose base cannot be read: they are stored as if there were none. */
  readonly #lostBases = new Set<string>();

  private constructor(
    parts: RepositoryParts,
    options: SessionOptions & { readonly session: string; readonly pointId: string },
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#claims = ClaimTable.allocate(
      claimCapacity(options.expectedBytes, parts.keyring.blockSize),
    );
    this.#claimTable = new ClaimTable(this.#claims);
    const counter = new Int32Array(this.#counter);
    this.#writer = new BlockWriter({
      keyring: parts.keyring,
      store: parts.store,
      session: Buffer.from(options.session, 'hex'),
      nextCounter: () => Atomics.add(counter, 0, 1),
      claims: this.#claimTable,
      isStored: (id) => parts.keeper.isFindable(id),
      onSealed: (pack) => this.sealed(pack),
    });
  }

  static async begin(parts: RepositoryParts, options: SessionOptions): Promise<BackupSession> {
    const session = parts.random(16).toString('hex');
    const pointId = options.point ?? newPointId(parts);
    const item = parts.keyring.itemId(options.item);
    await parts.append((state) => {
      const bases = options.diskNames.flatMap((disk) => {
        const chain = parts.keyring.chainKey(options.item, disk);
        const points = visiblePointsOf(state, chain);
        const chosen = options.bases?.get(disk);
        if (chosen === undefined) return points.at(-1)?.point ?? [];
        if (points.some(({ point }) => point === chosen)) return chosen;
        throw new HoldfastError(
          'PointNotFound',
          `there is no recovery point ${chosen} of ${disk}`,
          {
            details: { point: chosen, disk },
          },
        );
      });
      return {
        type: 'session-begun',
        session,
        kind: 'backup',
        point: pointId,
        item,
        bases: [...new Set(bases)],
        writers: 2 * (options.threads + 1),
      };
    });
    await parts.flushIndex();
    return new BackupSession(parts, { ...options, session, pointId });
  }

  get point(): string {
    return this.#options.pointId;
  }

  /** The point that this disk starts from, kept until the session ends. */
  base(disk: string): { readonly point: KnownPoint; readonly disk: LoggedDisk } | undefined {
    if (this.#lostBases.has(disk)) return undefined;
    const { keyring, history } = this.#parts;
    const chain = keyring.chainKey(this.#options.item, disk);
    const session = history.state.sessions.get(this.#options.session);
    const chosen = this.#options.bases?.get(disk);
    const point = (history.state.chains.get(chain) ?? [])
      .map((id) => history.state.points.get(id)!)
      .filter((known) => session?.bases.includes(known.point) === true)
      .findLast((known) => chosen === undefined || known.point === chosen);
    const logged = point?.disks.find((known) => known.chain === chain);
    return point === undefined || logged === undefined ? undefined : { point, disk: logged };
  }

  /**
   * The ids of the base's units (level-1 pages) `from` to before `to`, 16 bytes each; zeros where there is
   * none. If the base's upper pages cannot be read, the disk is from now on without a base.
   */
  async baseUnits(
    disk: string,
    range: { readonly from: number; readonly to: number },
  ): Promise<Buffer> {
    const base = this.base(disk);
    if (base === undefined) return Buffer.alloc((range.to - range.from) * 16);
    const root = Buffer.from(base.disk.root, 'hex');
    const pages = this.#parts.keeper.reader;
    try {
      return await levelOneIds({ pages, root, fromPage: range.from, toPage: range.to });
    } catch (error) {
      if (!isHoldfastError(error) || error.kind !== 'corrupt') throw error;
      this.#lostBases.add(disk);
      return Buffer.alloc((range.to - range.from) * 16);
    }
  }

  /** The base's last block in `within` that is not zero; undefined: none, or no base. As `lastBlockWithin`. */
  async lastBaseBlock(disk: string, within: readonly BlockRange[]): Promise<LastBlock | undefined> {
    const base = this.base(disk);
    if (base === undefined) return undefined;
    const root = Buffer.from(base.disk.root, 'hex');
    return await lastBlockWithin({ pages: this.#parts.keeper.reader, root, within });
  }

  /**
   * Whether the disk's newest point needs copies that are known to be damaged: then a backup must read
   * all of the disk, whatever a hint says. Walks the whole map, but only where damage is known at all.
   */
  async isBaseDamaged(disk: string): Promise<boolean> {
    const base = this.base(disk);
    const { keeper, history } = this.#parts;
    if (base === undefined) return false;
    if (history.state.damage.size === 0 && keeper.unreadablePacks.size === 0) return false;
    const root = Buffer.from(base.disk.root, 'hex');
    const toBlock = Math.ceil(base.disk.sizeBytes / this.#parts.keyring.blockSize);
    let isDamaged = false;
    const check = (id: Buffer): boolean => {
      isDamaged ||= !keeper.isReadable(id);
      return !isDamaged;
    };
    try {
      await pagesBelow({ pages: keeper.reader, root }, check);
      if (isDamaged) return true;
      await forEachBlock({ pages: keeper.reader, root, fromBlock: 0, toBlock }, ({ page }) => {
        for (let at = 0; at < page.length; at += 16) {
          const id = page.subarray(at, at + 16);
          if (!id.equals(ZERO_ID)) check(id);
        }
      });
    } catch (error) {
      if (!isHoldfastError(error) || error.kind !== 'corrupt') throw error;
      return true;
    }
    return isDamaged;
  }

  /** What a worker thread needs to write for this session. */
  threadData(): SessionThreadData {
    return {
      location: this.#parts.store.location,
      keyring: this.#parts.keyring.toWorkerData(),
      session: this.#options.session,
      counter: this.#counter,
      claims: this.#claims,
      view: this.view(),
    };
  }

  /** The index as it is now, for a thread that met a pack that is gone. */
  view(): IndexViewData {
    return this.#parts.keeper.view();
  }

  /** Takes note of a pack that a thread has made durable. */
  sealed(pack: SealedPack): void {
    this.#unlogged.push({ counter: pack.counter, kind: pack.kind, sizeBytes: pack.sizeBytes });
    this.#storedBytes += pack.sizeBytes;
    this.#parts.keeper.remember(pack.footer);
  }

  /** Takes over frames that a thread left unsealed. */
  adopt(frames: WaitingFrames): Promise<void> {
    return this.#writer.adopt(frames);
  }

  /** Whether the claim table must be renewed before much more is stored. */
  get needsRefresh(): boolean {
    return this.#claimTable.isCrowded;
  }

  /**
   * Logs what is sealed and empties the claim table. Call it while every thread has flushed (`sealAll`)
   * and is idle; then give each the new view.
   */
  async refresh(): Promise<IndexViewData> {
    this.#assertOpen();
    await this.#writer.finish({ sealAll: true });
    const { session } = this.#options;
    const packs = this.#takeUnlogged();
    if (packs.length > 0) await this.#append(() => ({ type: 'packs-sealed', session, packs }));
    await this.#parts.flushIndex();
    this.#claimTable.clear();
    return this.view();
  }

  /** Makes the point visible. All threads have flushed, and what they left has been adopted. */
  async commit(disks: readonly DiskResult[], facts: PointFacts): Promise<CommittedPoint> {
    const { logged, manifest } = await this.#finish(disks, facts);
    const manifestHash = await writeManifest(this.#parts, manifest);
    const { session, item } = this.#options;
    const packs = this.#takeUnlogged();
    await this.#append(() => ({
      type: 'point-committed',
      session,
      point: this.point,
      item: this.#parts.keyring.itemId(item),
      packs,
      disks: logged,
      manifestHash,
    }));
    this.#isOpen = false;
    return { manifest, storedBytes: this.#storedBytes };
  }

  /**
   * As `commit`, up to the entry that makes the point visible: whoever is given it commits it together with others,
   * or cancels it.
   */
  async ready(disks: readonly DiskResult[], facts: PointFacts): Promise<ReadyPoint> {
    const { logged, manifest } = await this.#finish(disks, facts);
    const { session } = this.#options;
    const packs = this.#takeUnlogged();
    if (packs.length > 0) await this.#append(() => ({ type: 'packs-sealed', session, packs }));
    this.#isOpen = false;
    return { session, disks: logged, manifest };
  }

  /** All that the point needs is durable, but its manifest. */
  async #finish(
    disks: readonly DiskResult[],
    facts: PointFacts,
  ): Promise<{ readonly logged: readonly LoggedDisk[]; readonly manifest: Manifest }> {
    this.#assertOpen();
    const logged: LoggedDisk[] = [];
    for (const disk of disks) logged.push(await this.#buildMap(disk));
    await this.#writer.finish({ sealAll: true });
    const stored = shareOut(
      this.#storedBytes,
      disks.map((disk) => disk.newBytes),
    );
    const manifest: Manifest = {
      point: this.point,
      item: this.#options.item,
      timeMs: this.#parts.clock.nowMs(),
      consistency: facts.consistency,
      ...(facts.vm === undefined ? {} : { vm: facts.vm }),
      blockSize: this.#parts.keyring.blockSize,
      disks: logged.map((disk, at) => ({
        ...disk,
        readBytes: disks[at]!.readBytes,
        changedBytes: disks[at]!.changedBytes,
        storedBytes: stored[at]!,
      })),
      seconds: facts.seconds,
      holdfast: this.#parts.version,
    };
    return { logged, manifest };
  }

  /** Ends the session without a point; what is sealed is kept for the next one. Idempotent. */
  async cancel(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#writer.finish({ sealAll: true });
    const { session } = this.#options;
    const packs = this.#takeUnlogged();
    await this.#append(() => ({ type: 'session-ended', session, outcome: 'cancelled', packs }));
  }

  async #buildMap(disk: DiskResult): Promise<LoggedDisk> {
    const { keyring } = this.#parts;
    const { reader } = this.#parts.keeper;
    // Pages that are put here are not in the index yet, and rewriting reads what truncating put.
    const put = new Map<string, Buffer>();
    const pages: PageSource = {
      cached: (id) => put.get(id.toString('latin1')) ?? reader.cached(id),
      page: reader.page,
    };
    const putPage = async (page: Buffer): Promise<Buffer> => {
      const id = keyring.pageId(page);
      // Where the base could not be read, copies of other pages of it may be bad as well.
      if (this.#lostBases.has(disk.name)) await this.#writer.store('page', page, id);
      else await this.#writer.put('page', page, id);
      return id;
    };
    const putKept = async (page: Buffer): Promise<Buffer> => {
      const id = await putPage(page);
      put.set(id.toString('latin1'), Buffer.from(page));
      return id;
    };
    const base = this.base(disk.name);
    const baseRoot = base === undefined ? ZERO_ID : Buffer.from(base.disk.root, 'hex');
    const isShorter = base !== undefined && base.disk.sizeBytes > disk.sizeBytes;
    const blockCount = Math.ceil(disk.sizeBytes / keyring.blockSize);
    const oldRoot = isShorter
      ? await truncateMap({ pages, root: baseRoot, blockCount, putPage: putKept })
      : baseRoot;
    const root = await rewriteMap({ pages, oldRoot, changes: disk.units, putPage });
    return {
      name: disk.name,
      chain: keyring.chainKey(this.#options.item, disk.name),
      sizeBytes: disk.sizeBytes,
      root: root.toString('hex'),
    };
  }

  #append(event: Parameters<RepositoryParts['append']>[0]): Promise<number | undefined> {
    const { session } = this.#options;
    return this.#parts.append((state) => {
      if (!state.sessions.has(session)) {
        throw new HoldfastError('SessionEnded', 'this backup was ended by the repository’s owner');
      }
      return event(state);
    });
  }

  #takeUnlogged(): LoggedPack[] {
    const packs = this.#unlogged.sort((a, b) => a.counter - b.counter);
    this.#unlogged = [];
    return packs;
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new HoldfastError('SessionEnded', 'the backup session has ended');
  }
}

/** Divides `totalBytes` in proportion to `weights`, to the byte; without weights, the first has all. */
function shareOut(totalBytes: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const shares = weights.map((weight) => (sum === 0 ? 0 : Math.floor((totalBytes * weight) / sum)));
  const rest = totalBytes - shares.reduce((total, share) => total + share, 0);
  return shares.map((share, at) => (at === 0 ? share + rest : share));
}
