/**
 * Who owns what is stored: each live block and map page belongs to the oldest point, in the order of the log, that
 * holds it. The sum over points is the repository's live bytes. Reads every map once; of ids with several placements
 * it remembers which were met, in bounded memory.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockIndex, newFound } from '../block-index/index.ts';
import type { KnownPoint } from '../history/state.ts';
import type { PageSource } from '../map/placement.ts';
import { pointAdded } from '../map/placement-walk.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/** About 25 MB of memory. */
const IDS_IN_MEMORY = 200_000;

/**
 * Stored bytes by point, in the order of the log; points that have expired and are still needed by a reader or a
 * backup are among them.
 *
 * @throws {HoldfastError} `BlockMissing`, `ObjectDamaged` for a page of a map; `IndexDamaged`.
 */
export async function storedByOwner(
  parts: RepositoryParts,
  idsInMemory = IDS_IN_MEMORY,
): Promise<ReadonlyMap<string, number>> {
  const met = new MetIds(idsInMemory);
  const { reader } = parts.keeper;
  const pages: PageSource = {
    cached: (id) => (met.isFull ? undefined : reader.cached(id)),
    page: async (id) => {
      if (met.isFull) await met.spill();
      return await reader.page(id);
    },
  };
  const owned = new Map<string, number>();
  try {
    for (const point of parts.history.state.points.values()) {
      let bytes = 0;
      for (const disk of point.disks) {
        const roots = { previous: rootBefore(parts, point, disk.chain), root: rootOf(disk) };
        await pointAdded(pages, roots, (_kind, id) => {
          const { share, count } = parts.keeper.stored(id);
          if (count === 1 || met.add(id)) bytes += share;
        });
      }
      owned.set(point.point, bytes);
    }
    return owned;
  } finally {
    await met.close();
  }
}

/**
 * Bytes of a point's blocks that are not zero, by disk.
 *
 * @param known of another point of the same item, from an earlier call: then only what differs is read.
 */
export async function usedBytes(
  parts: RepositoryParts,
  point: string,
  known?: { readonly point: string; readonly usedBytes: ReadonlyMap<string, number> },
): Promise<ReadonlyMap<string, number>> {
  const { points } = parts.history.state;
  const used = new Map<string, number>();
  for (const disk of points.get(point)!.disks) {
    const other = points.get(known?.point ?? '')?.disks.find(({ chain }) => chain === disk.chain);
    const before = other === undefined ? undefined : known?.usedBytes.get(other.name);
    const isKnown = other !== undefined && before !== undefined;
    const previous = isKnown ? rootOf(other) : undefined;
    const come = await differing(parts, { previous, root: rootOf(disk) });
    const gone =
      previous === undefined
        ? 0
        : await differing(parts, { previous: rootOf(disk), root: previous });
    used.set(disk.name, (isKnown ? before : 0) + (come - gone) * parts.keyring.blockSize);
  }
  return used;
}

async function differing(
  { keeper }: RepositoryParts,
  roots: { readonly previous: Buffer | undefined; readonly root: Buffer },
): Promise<number> {
  return await pointAdded(keeper.reader, roots, () => undefined);
}

function rootBefore(
  { history }: RepositoryParts,
  { point }: KnownPoint,
  chain: string,
): Buffer | undefined {
  const { chains, points } = history.state;
  const ids = chains.get(chain)!;
  const before = points.get(ids[ids.indexOf(point) - 1] ?? '');
  const disk = before?.disks.find((known) => known.chain === chain);
  return disk === undefined ? undefined : rootOf(disk);
}

function rootOf({ root }: { readonly root: string }): Buffer {
  return Buffer.from(root, 'hex');
}

/** A set of ids: in memory at first, beyond that in a temporary index. */
class MetIds {
  readonly #inMemory = new Set<string>();
  readonly #limit: number;
  readonly #found = newFound();
  #spilled: { readonly index: BlockIndex; readonly folder: string } | undefined;
  #spilling: Promise<void> | undefined;
  #flushes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.#inMemory.size >= this.#limit;
  }

  /** @returns whether it is new. */
  add(id: Buffer): boolean {
    const key = id.toString('latin1');
    if (this.#inMemory.has(key)) return false;
    if (this.#spilled !== undefined && this.#spilled.index.find(id, this.#found).count > 0) {
      return false;
    }
    this.#inMemory.add(key);
    return true;
  }

  /** Walks load several pages at once: whoever comes meanwhile waits with it. */
  async spill(): Promise<void> {
    this.#spilling ??= this.#spillNow().finally(() => (this.#spilling = undefined));
    await this.#spilling;
  }

  async #spillNow(): Promise<void> {
    this.#spilled ??= await this.#makeIndex();
    for (const key of this.#inMemory) {
      this.#spilled.index.addCount(Buffer.from(key, 'latin1'), 1);
    }
    this.#inMemory.clear();
    this.#flushes += 1;
    await this.#spilled.index.flush({ number: this.#flushes, hash: '', cursor: 0 }, {});
  }

  async #makeIndex(): Promise<{ readonly index: BlockIndex; readonly folder: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-owners-'));
    const index = await BlockIndex.create(join(folder, 'index'), {
      isPackGone: () => false,
      // A page of entries may come between two looks at whether it is full.
      memtableRecords: 2 * this.#limit + 1024,
    });
    return { index, folder };
  }

  async close(): Promise<void> {
    if (this.#spilled === undefined) return;
    await this.#spilled.index.close();
    await rm(this.#spilled.folder, { recursive: true, force: true });
  }
}
