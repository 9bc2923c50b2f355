/**
 * A small world for tests of the repository: a store with faults, a folder for index and locks, items
 * whose disks are maps of block number → content, and what each point must restore to.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '#base';
import {
  BackupSession,
  compactRepository,
  forEachBlock,
  initRepository,
  placeInFolder,
  Repository,
  SessionThread,
  verifyMetadata,
  type DiskResult,
  type OpenOptions,
  type ReadyPoint,
  type reclaimMark,
} from '#repository';
import { MemoryDisk, type ObjectStore } from '#storage';

const BLOCK = 4096;
const LEAF = 64;
const UNIT = 4096;

/** Block number → content number; absent: zeros. */
export type Image = ReadonlyMap<number, number>;
export type Disks = ReadonlyMap<string, { readonly blocks: number; readonly image: Image }>;

/** Pseudo-random numbers from a seed, so that a history can be run again. */
export function seeded(seed: number): (below: number) => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The bytes of content `number`, half compressible, never all zero. */
export function contentOf(number: number): Buffer {
  const block = Buffer.alloc(BLOCK, number & 0xff);
  let digest = createHash('sha256').update(`content ${number}`).digest();
  for (let at = 0; at < BLOCK / 2; at += 32) {
    digest.copy(block, at);
    if (at % 512 === 0) digest = createHash('sha256').update(digest).digest();
  }
  return block;
}

export type WorldOptions = { readonly seed: number; readonly memtableRecords?: number };

export class World {
  readonly disk: MemoryDisk;
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-world-'));
  readonly clock = new FakeClock();
  readonly #options: WorldOptions;
  #randomCalls = 0;
  /** What every committed point must restore to. */
  readonly expected = new Map<string, Disks>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.disk = new MemoryDisk({ seed: options.seed });
  }

  readonly random = (sizeBytes: number): Buffer => {
    this.#randomCalls += 1;
    const parts: Buffer[] = [];
    for (let at = 0; at < sizeBytes; at += 64) {
      const text = `${this.#options.seed} ${this.#randomCalls} ${at}`;
      parts.push(createHash('sha512').update(text).digest());
    }
    return Buffer.concat(parts).subarray(0, sizeBytes);
  };

  /** The same repository once more, as it is now, index included: what is done to one leaves the other. */
  clone(): World {
    const copy = new World(this.#options);
    for (const [name, bytes] of this.disk.objects) copy.disk.put(name, Buffer.from(bytes));
    for (const { name, chunks } of this.disk.unfinished) {
      copy.disk.unfinished.add({ name, chunks: [...chunks] });
    }
    cpSync(this.folder, copy.folder, { recursive: true });
    for (const [point, disks] of this.expected) copy.expected.set(point, disks);
    copy.#randomCalls = this.#randomCalls;
    return copy;
  }

  async init(store: ObjectStore = this.disk.store()): Promise<void> {
    await initRepository({
      store,
      blockSize: BLOCK,
      access: { kdf: 'none' },
      label: 'test',
      clock: this.clock,
      random: this.random,
    });
  }

  options(overrides: Partial<OpenOptions> = {}): OpenOptions {
    const { memtableRecords } = this.#options;
    return {
      store: this.disk.store(),
      place: placeInFolder(this.folder),
      access: 'own',
      clock: this.clock,
      random: this.random,
      version: 'test',
      process: { host: 'here', pid: process.pid, command: 'test' },
      waitMs: 0,
      warn: () => undefined,
      ...(memtableRecords === undefined ? {} : { memtableRecords }),
      ...overrides,
    };
  }

  open(overrides: Partial<OpenOptions> = {}): Promise<Repository> {
    return Repository.open(this.options(overrides));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A session with one inline thread, and the disks that it has written. */
export class InlineBackup {
  readonly session: BackupSession;
  readonly #thread: SessionThread;
  readonly #disks: Disks;
  readonly #results: DiskResult[] = [];

  private constructor(parts: {
    readonly session: BackupSession;
    readonly thread: SessionThread;
    readonly disks: Disks;
  }) {
    this.session = parts.session;
    this.#thread = parts.thread;
    this.#disks = parts.disks;
  }

  static async begin(
    repository: Repository,
    options: { readonly item: string; readonly disks: Disks; readonly store?: ObjectStore },
  ): Promise<InlineBackup> {
    const { item, disks } = options;
    const session = await BackupSession.begin(repository.parts, {
      item,
      diskNames: [...disks.keys()],
      threads: 1,
      expectedBytes: 1 << 20,
    });
    const data = session.threadData();
    const thread = new SessionThread({
      data,
      store: options.store ?? repository.parts.store,
      onSealed: (pack) => session.sealed(pack),
      requestView: async () => session.view(),
    });
    await repository.parts.keeper.release(data.view);
    return new InlineBackup({ session, thread, disks });
  }

  /** Stores every disk: compares with the base and writes what differs. */
  async write(): Promise<void> {
    for (const [name, { blocks, image }] of this.#disks) {
      this.#results.push(await this.#writeDisk(name, { blocks, image }));
    }
  }

  async #writeDisk(
    name: string,
    { blocks, image }: { readonly blocks: number; readonly image: Image },
  ): Promise<DiskResult> {
    const unitCount = Math.ceil(blocks / UNIT);
    const baseUnits = await this.session.baseUnits(name, { from: 0, to: unitCount });
    const used = new Set(Array.from(image.keys(), (block) => Math.floor(block / UNIT)));
    const units = new Map<number, Buffer>();
    const writer = this.#thread.unitWriter();
    for (let unit = 0; unit < unitCount; unit += 1) {
      const base = baseUnits.subarray(unit * 16, unit * 16 + 16);
      if (!used.has(unit) && base.equals(Buffer.alloc(16))) continue;
      await writer.open(base, Math.min(LEAF, Math.ceil((blocks - unit * UNIT) / LEAF)));
      for (let leaf = 0; leaf < LEAF; leaf += 1) {
        const first = unit * UNIT + leaf * LEAF;
        if (first >= blocks) continue;
        const count = Math.min(LEAF, blocks - first);
        const bytes = leafBytes(image, { first, count });
        if (bytes === undefined) await writer.writeZeros(leaf);
        else await writer.writeLeaf(leaf, { bytes });
      }
      units.set(unit, await writer.finish());
    }
    const { changedBlocks, newBytes } = writer.statistics;
    const sizeBytes = blocks * BLOCK;
    const changedBytes = changedBlocks * BLOCK;
    return { name, sizeBytes, units, readBytes: sizeBytes, changedBytes, newBytes };
  }

  async commit(): Promise<string> {
    await this.session.adopt(await this.#thread.flush({ sealAll: false }));
    await this.#thread.close();
    await this.session.commit(this.#results, { consistency: 'CrashConsistent', seconds: 0 });
    return this.session.point;
  }

  /** Stored, and to be committed with others. */
  async ready(): Promise<ReadyPoint> {
    await this.session.adopt(await this.#thread.flush({ sealAll: false }));
    await this.#thread.close();
    return await this.session.ready(this.#results, { consistency: 'CrashConsistent', seconds: 0 });
  }

  async cancel(): Promise<void> {
    await this.session.adopt(await this.#thread.flush({ sealAll: false }));
    await this.#thread.close();
    await this.session.cancel();
  }
}

function leafBytes(
  image: Image,
  { first, count }: { readonly first: number; readonly count: number },
): Buffer | undefined {
  let bytes: Buffer | undefined;
  for (let at = 0; at < count; at += 1) {
    const content = image.get(first + at);
    if (content === undefined) continue;
    bytes ??= Buffer.alloc(count * BLOCK);
    contentOf(content).copy(bytes, at * BLOCK);
  }
  return bytes;
}

/** Backs the disks up and remembers what the point must restore to. */
export async function backUp(
  world: World,
  repository: Repository,
  what: { readonly item: string; readonly disks: Disks },
): Promise<string> {
  const backup = await InlineBackup.begin(repository, what);
  await backup.write();
  const point = await backup.commit();
  world.expected.set(point, what.disks);
  return point;
}

/** Restores every visible point and compares it, block for block, with what was backed up. */
export async function assertRestores(world: World, repository: Repository): Promise<void> {
  const visible = [...repository.state.points.values()].filter((point) => point.visible);
  const reader = repository.parts.keeper.newReader();
  for (const { point } of visible) await assertPointRestores(world, repository, { point, reader });
}

/** Restores one point and compares it. */
export async function assertPointRestores(
  world: World,
  repository: Repository,
  what: { readonly point: string; readonly reader?: Pages & Blocks },
): Promise<void> {
  const reader = what.reader ?? repository.parts.keeper.newReader();
  const point = repository.state.points.get(what.point)!;
  const expected = world.expected.get(point.point);
  assert.ok(expected !== undefined, `point ${point.point} was never committed`);
  assert.deepEqual(
    point.disks.map((disk) => disk.name),
    [...expected.keys()],
  );
  for (const disk of point.disks) {
    const { blocks, image }: { blocks: number; image: Image } = expected.get(disk.name)!;
    assert.equal(disk.sizeBytes, blocks * BLOCK);
    const ids = await idsOf(reader, { root: disk.root, blocks });
    assert.deepEqual(
      [...ids.keys()],
      [...image.keys()].sort((a, b) => a - b),
    );
    for (const [block, id] of ids) {
      assert.ok((await reader.read(id)).equals(contentOf(image.get(block)!)), `block ${block}`);
    }
  }
}

type Pages = Parameters<typeof forEachBlock>[0]['pages'];
type Blocks = { readonly read: (id: Buffer) => Promise<Buffer> };

async function idsOf(
  pages: Pages,
  disk: { readonly root: string; readonly blocks: number },
): Promise<Map<number, Buffer>> {
  const ids = new Map<number, Buffer>();
  const range = { fromBlock: 0, toBlock: disk.blocks };
  await forEachBlock({ pages, root: Buffer.from(disk.root, 'hex'), ...range }, (leaf) => {
    for (let entry = leaf.fromEntry; entry < leaf.toEntry; entry += 1) {
      const id = Buffer.from(leaf.page.subarray(entry * 16, entry * 16 + 16));
      if (!id.equals(Buffer.alloc(16))) ids.set(leaf.firstBlock + entry, id);
    }
  });
  return ids;
}

/** An item for `reclaimMark` to lay out, whatever that costs. */
export function itemToLayOut(
  { parts }: Pick<Repository, 'parts'>,
  points: readonly string[],
): Parameters<typeof reclaimMark>[2]['inOrder'][number] {
  const packs = new Set([...parts.keeper.packs.rows()].map(({ number }) => number));
  return { points, packs, blockCount: 0, isAboveLimit: true };
}

/** The index equals one made anew, and nothing that a point needs is missing. */
export async function assertIndexAgrees(repository: Repository): Promise<void> {
  const found = await verifyMetadata(repository.parts);
  assert.deepEqual(found.damage, []);
  assert.equal(found.missingCount, 0, `missing ${found.missing[0]}`);
  assert.equal(found.isIncomplete, false);
  assert.equal(found.firstDifference, undefined);
}

export { compactRepository };
