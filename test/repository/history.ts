/**
 * Random histories of a repository against a model: several sessions at once, dedup across items, expiry
 * in any order, disks added, removed and resized, compaction in halves, rebuild, crashes, faults in
 * any storage call, damage and healing, an old index put back, a second owner. After each step every
 * visible point restores bit for bit and the index equals one made anew; block counts are compared
 * with a count of the model's own.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isHoldfastError } from '#base';
import {
  cancelReady,
  commitTogether,
  compactRepository,
  expirePoints,
  markPacks,
  planExpiry,
  reclaimMark,
  repositoryStatistics,
  verifyRepository,
  type ReadyPoint,
  type Repository,
} from '#repository';
import {
  assertIndexAgrees,
  assertRestores,
  contentOf,
  InlineBackup,
  seeded,
  World,
  type Disks,
  type Image,
  itemToLayOut,
} from './world.ts';

const ITEMS = ['web', 'db', 'mail'];
/** Few contents, so that items share blocks and blocks come back. */
const CONTENTS = 24;
/** Blocks in several leaves and units. */
const PLACES = [0, 1, 2, 3, 63, 64, 65, 130, 4095, 4096, 4100, 9000];

type Open = { readonly item: string; readonly disks: Disks; readonly backup: InlineBackup };

export type HistoryOptions = {
  readonly seed: number;
  readonly steps: number;
  /** Check everything after every so many steps. */
  readonly checkEvery: number;
};

export class RandomHistory {
  readonly #random: (below: number) => number;
  readonly #world: World;
  readonly #current = new Map<string, Disks>();
  #repository!: Repository;
  #open: Open[] = [];
  /** Points whose fate is one, until it has been looked at. */
  #together: string[] = [];
  /** What was done, for the message of a failure. */
  readonly done: string[] = [];
  readonly counts = new Map<string, number>();

  constructor(options: HistoryOptions) {
    this.#random = seeded(options.seed);
    this.#world = new World({ seed: options.seed, memtableRecords: 256 });
  }

  static async run(options: HistoryOptions): Promise<ReadonlyMap<string, number>> {
    const history = new RandomHistory(options);
    try {
      await history.#world.init();
      history.#repository = await history.#world.open();
      for (let step = 1; step <= options.steps; step += 1) {
        await history.#step();
        if (step % options.checkEvery === 0) await history.#check();
      }
      await history.#check();
    } catch (error) {
      throw new Error(
        `seed ${options.seed}, after ${history.done.length} steps: ${history.done.slice(-12).join('; ')}`,
        { cause: error },
      );
    } finally {
      await history.#repository?.abandon();
      history.#world.remove();
    }
    return history.counts;
  }

  async #step(): Promise<void> {
    const steps: [number, string, () => Promise<void>][] = [
      [6, 'begin', () => this.#begin()],
      [7, 'commit', () => this.#commit()],
      [3, 'commit together', () => this.#commitTogether()],
      [1, 'cancel', () => this.#cancel()],
      [4, 'expire', () => this.#expire()],
      [2, 'mark', () => this.#mark()],
      [2, 'reclaim', () => this.#reclaim()],
      [1, 'compact', () => this.#compact()],
      [1, 'rebuild', () => this.#rebuild()],
      [2, 'reopen', () => this.#reopen()],
      [2, 'crash', () => this.#crash()],
      [3, 'fault', () => this.#fault()],
      [1, 'old index', () => this.#oldIndex()],
      [1, 'second owner', () => this.#secondOwner()],
      [1, 'reader', () => this.#reader()],
      [1, 'damage', () => this.#damage()],
    ];
    let pick = this.#random(steps.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, name, run] of steps) {
      pick -= weight;
      if (pick >= 0) continue;
      this.done.push(name);
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
      await run();
      return;
    }
  }

  #visible(): string[] {
    return [...this.#repository.state.points.values()]
      .filter((point) => point.visible)
      .map((point) => point.point);
  }

  async #begin(): Promise<void> {
    if (this.#open.length >= 3) return;
    const item = ITEMS[this.#random(ITEMS.length)]!;
    const disks = this.#mutate(this.#current.get(item) ?? new Map());
    const backup = await InlineBackup.begin(this.#repository, { item, disks });
    await backup.write();
    this.#open.push({ item, disks, backup });
  }

  /** Changes blocks, and now and then the disks themselves. */
  #mutate(disks: Disks): Disks {
    const next = new Map(disks);
    if (next.size === 0 || this.#random(8) === 0) {
      next.set(`vd${'abc'[this.#random(3)]}`, { blocks: 9001, image: new Map() });
    }
    if (next.size > 1 && this.#random(8) === 0) next.delete([...next.keys()][0]!);
    for (const [name, disk] of next) {
      const image = new Map(disk.image);
      for (let change = this.#random(6); change >= 0; change -= 1) {
        const place = PLACES[this.#random(PLACES.length)]!;
        if (this.#random(5) === 0) image.delete(place);
        else image.set(place, this.#random(CONTENTS));
      }
      const blocks = this.#random(8) === 0 ? PLACES[this.#random(PLACES.length)]! + 1 : disk.blocks;
      const inside = [...image].filter(([block]) => block < blocks).sort(([a], [b]) => a - b);
      next.set(name, { blocks, image: new Map(inside) });
    }
    return new Map([...next].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #takeOpen(): Open | undefined {
    return this.#open.splice(this.#random(Math.max(1, this.#open.length)), 1)[0];
  }

  async #commit(): Promise<void> {
    const open = this.#takeOpen();
    if (open === undefined) return;
    this.#world.clock.advance(1000);
    // Said before: after a crash in the middle the point may be there.
    this.#world.expected.set(open.backup.session.point, open.disks);
    await open.backup.commit();
    this.#current.set(open.item, open.disks);
  }

  /** All that are open: their points come together, or none does. */
  async #commitTogether(): Promise<void> {
    const open = this.#open.splice(0);
    if (open.length === 0) return;
    const { parts } = this.#repository;
    this.#together = open.map(({ backup }) => backup.session.point);
    for (const { backup, disks } of open) {
      this.#world.expected.set(backup.session.point, disks);
    }
    const ready: ReadyPoint[] = [];
    for (const { backup } of open) ready.push(await backup.ready());
    if (this.#random(4) === 0) {
      for (const one of ready) await cancelReady(parts, one);
    } else {
      this.#world.clock.advance(1000);
      await commitTogether(parts, ready);
      for (const { item, disks } of open) this.#current.set(item, disks);
    }
    this.#assertTogether();
  }

  /** Of the points that were committed together last, all are there or none is. */
  #assertTogether(): void {
    const { points } = this.#repository.state;
    const there = this.#together.filter((point) => points.has(point));
    assert.ok(there.length === 0 || there.length === this.#together.length, 'half a group');
    this.#together = [];
  }

  async #cancel(): Promise<void> {
    await this.#takeOpen()?.backup.cancel();
  }

  async #expire(): Promise<void> {
    const visible = this.#visible();
    const count = Math.min(visible.length, 1 + this.#random(3));
    const points = Array.from({ length: count }, () => visible[this.#random(visible.length)]!);
    const plan = await planExpiry(this.#repository.parts, points);
    const before = repositoryStatistics(this.#repository.parts).liveBytes;
    const result = await expirePoints(this.#repository.parts, points);
    const after = repositoryStatistics(this.#repository.parts).liveBytes;
    assert.equal(result.freedBytes, before - after);
    if (result.kept.length === 0) assert.equal(result.freedBytes, plan.freedBytes);
  }

  async #mark(): Promise<void> {
    const packs = [...this.#repository.state.packs.keys()].filter(() => this.#random(3) > 0);
    const marked = [...this.#repository.state.marks.values()].flatMap((mark) => mark.packs);
    const free = packs.filter((pack) => !marked.some((other) => other.pack === pack));
    if (free.length > 0) await markPacks(this.#repository.parts, free);
  }

  async #reclaim(): Promise<void> {
    for (const [mark, { waitsFor }] of Array.from(this.#repository.state.marks)) {
      if (waitsFor.length > 0) continue;
      const inOrder =
        this.#random(2) === 0 ? [itemToLayOut(this.#repository, this.#visible().slice(0, 2))] : [];
      await reclaimMark(this.#repository.parts, mark, { inOrder });
    }
  }

  async #compact(): Promise<void> {
    await compactRepository(this.#repository.parts);
  }

  async #rebuild(): Promise<void> {
    await this.#repository.close();
    this.#open = [];
    rmSync(join(this.#world.folder, 'index'), { recursive: true, force: true });
    this.#repository = await this.#world.open();
  }

  async #reopen(): Promise<void> {
    await this.#repository.close();
    this.#open = [];
    this.#repository = await this.#world.open();
    assert.equal(this.#repository.rebuilt, undefined);
  }

  async #crash(): Promise<void> {
    await this.#repository.abandon();
    this.#open = [];
    if (this.#random(2) === 0) this.#world.disk.losePower();
    this.#world.disk.reopen();
    this.#repository = await this.#world.open();
  }

  /** Lets a storage call of one of the next steps fail, and everything after it: the process is dead. */
  async #fault(): Promise<void> {
    const kinds = ['fail', 'failAfter', 'torn', 'powerLoss'] as const;
    const atCall = 1 + this.#random(12);
    this.#world.disk.plan = { atCall, kind: kinds[this.#random(kinds.length)]! };
    const steps = [
      (): Promise<void> => this.#begin(),
      (): Promise<void> => this.#commit(),
      (): Promise<void> => this.#commitTogether(),
      (): Promise<void> => this.#expire(),
      (): Promise<void> => this.#compact(),
      (): Promise<void> => this.#reclaim(),
    ];
    try {
      for (let count = 0; count < 3; count += 1) await steps[this.#random(steps.length)]!();
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
    }
    await this.#repository.abandon();
    this.#open = [];
    this.#world.disk.reopen();
    this.#repository = await this.#world.open();
    this.#assertTogether();
  }

  /** Puts back the index of some time ago: it is replayed, or seen to be unusable and rebuilt. */
  async #oldIndex(): Promise<void> {
    const { folder } = this.#world;
    const [index, old] = [join(folder, 'index'), join(folder, 'old-index')];
    await this.#repository.close();
    this.#open = [];
    if (existsSync(old) && this.#random(2) === 0) {
      rmSync(index, { recursive: true });
      cpSync(old, index, { recursive: true });
    } else {
      rmSync(old, { recursive: true, force: true });
      cpSync(index, old, { recursive: true });
    }
    this.#repository = await this.#world.open();
  }

  /** Another machine takes over: the first stops at its next entry and loses nothing. */
  async #secondOwner(): Promise<void> {
    const { place } = this.#world.options();
    const elsewhere = join(this.#world.folder, 'elsewhere');
    const other = await this.#world.open({
      place: { ...place, indexDir: join(elsewhere, 'index'), locksDir: join(elsewhere, 'locks') },
    });
    const ids = this.#visible();
    if (ids.length > 0) {
      await assert.rejects(expirePoints(this.#repository.parts, [ids[0]!]), {
        code: 'OwnerChanged',
      });
    }
    await assertRestores(this.#world, other);
    await other.close();
    await this.#repository.abandon();
    this.#open = [];
    this.#repository = await this.#world.open();
  }

  /** A reader pins a point, the owner expires and compacts, and the reader still restores it. */
  async #reader(): Promise<void> {
    const visible = this.#visible();
    if (visible.length === 0) return;
    const point = visible[this.#random(visible.length)]!;
    const reader = await this.#world.open({ access: 'read' });
    try {
      assert.equal(await reader.pin([point]), true);
      await expirePoints(this.#repository.parts, [point]);
      await compactRepository(this.#repository.parts);
      await assertRestores(this.#world, reader);
    } finally {
      await reader.close();
    }
    await this.#repository.parts.history.catchUp();
  }

  /** Flips a bit of a data pack; verify finds it, the next backups heal what they still have. */
  async #damage(): Promise<void> {
    const packs = [...this.#repository.state.packs].filter(([, { kind }]) => kind === 'data');
    if (packs.length === 0) return;
    await this.#reopen();
    const [pack] = packs[this.#random(packs.length)]!;
    this.#world.disk.flipBit(`packs/${pack.slice(0, 2)}/${pack}`, 8 * (40 + this.#random(200)));
    const found = await verifyRepository(this.#repository, { readDataPercent: 100 });
    assert.equal(found.ok, false);
    assert.ok(found.damage.some(({ object }) => object.endsWith(pack)));
    for (const [item, disks] of this.#current) {
      const backup = await InlineBackup.begin(this.#repository, { item, disks });
      await backup.write();
      this.#world.expected.set(await backup.commit(), disks);
    }
    const touched = await verifyRepository(this.#repository, {});
    const lost = touched.points.map((point) => point.point);
    const newest = new Set([...this.#current.keys()].map((item) => this.#newestOf(item)));
    assert.ok(
      lost.every((point) => !newest.has(point)),
      'the newest points are healed',
    );
    if (lost.length > 0) await expirePoints(this.#repository.parts, lost);
    await compactRepository(this.#repository.parts);
  }

  #newestOf(item: string): string | undefined {
    const id = this.#repository.parts.keyring.itemId(item);
    return [...this.#repository.state.points.values()].findLast((point) => point.item === id)
      ?.point;
  }

  async #check(): Promise<void> {
    await assertRestores(this.#world, this.#repository);
    await assertIndexAgrees(this.#repository);
    this.#assertCounts();
    const stats = repositoryStatistics(this.#repository.parts);
    assert.equal(stats.storedBytes, stats.liveBytes + stats.deadBytes + stats.overheadBytes);
  }

  /** The placements of every content, counted from the model alone. */
  #assertCounts(): void {
    const { state, parts } = this.#repository;
    const counts = new Map<number, number>();
    for (const [chain, points] of state.chains) {
      let previous: Image = new Map();
      for (const id of points) {
        const { name } = state.points.get(id)!.disks.find((disk) => disk.chain === chain)!;
        const { image } = this.#world.expected.get(id)!.get(name)!;
        for (const [block, content] of image) {
          if (previous.get(block) !== content) counts.set(content, (counts.get(content) ?? 0) + 1);
        }
        previous = image;
      }
    }
    for (let content = 0; content < CONTENTS; content += 1) {
      const id = parts.keyring.blockId(contentOf(content));
      assert.equal(parts.keeper.stored(id).count, counts.get(content) ?? 0, `content ${content}`);
    }
  }
}
