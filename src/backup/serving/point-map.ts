/** The map of one disk of a point, for random access: the last used leaves are kept. */
import type { Extent } from '#disk';
import { forEachBlock, type Repository } from '#repository';
import type { PointDisk } from '../point-disks.ts';

const LEAF_BLOCKS = 64;
const ID_BYTES = 16;
const ZERO_PAGE = Buffer.alloc(LEAF_BLOCKS * ID_BYTES);
const ZERO_ID = Buffer.alloc(ID_BYTES);
/** 4 MiB of pages: 4 GiB of disk at 16 KiB blocks. */
const KEPT_LEAVES = 4096;
/** Longer ranges are walked without keeping anything. */
const MOST_LEAVES = 64;

export class PointMap {
  readonly #repository: Repository;
  readonly #root: Buffer;
  readonly #blockSize: number;
  readonly #leaves = new Map<number, Buffer>();

  constructor(repository: Repository, disk: PointDisk) {
    this.#repository = repository;
    this.#root = Buffer.from(disk.root, 'hex');
    this.#blockSize = repository.state.blockSize;
  }

  /** The block's id; undefined: it is all zero. @throws {HoldfastError} `BlockMissing`. */
  async idOf(block: number): Promise<Buffer | undefined> {
    const number = Math.floor(block / LEAF_BLOCKS);
    const page = this.#leaves.get(number) ?? (await this.#leaf(number));
    const at = (block % LEAF_BLOCKS) * ID_BYTES;
    const id = page.subarray(at, at + ID_BYTES);
    return id.equals(ZERO_ID) ? undefined : id;
  }

  /** Ids of at most `most` blocks from `block` on, those of one leaf; zeros: the block is all zero. */
  async idsFrom(block: number, most: number): Promise<Buffer> {
    const number = Math.floor(block / LEAF_BLOCKS);
    const page = this.#leaves.get(number) ?? (await this.#leaf(number));
    const at = block % LEAF_BLOCKS;
    return page.subarray(at * ID_BYTES, Math.min(LEAF_BLOCKS, at + most) * ID_BYTES);
  }

  /** The extents of the range that are not all zero, in whole blocks cut at the range. */
  async dataExtents({ offset, length }: Extent): Promise<Extent[]> {
    const fromBlock = Math.floor(offset / this.#blockSize);
    const toBlock = Math.ceil((offset + length) / this.#blockSize);
    const runs: { from: number; to: number }[] = [];
    const add = (block: number): void => {
      const last = runs.at(-1);
      if (last?.to === block) last.to = block + 1;
      else runs.push({ from: block, to: block + 1 });
    };
    if (toBlock - fromBlock <= MOST_LEAVES * LEAF_BLOCKS) {
      for (let block = fromBlock; block < toBlock;) {
        const ids = await this.idsFrom(block, toBlock - block);
        for (let at = 0; at < ids.length; at += ID_BYTES, block += 1) {
          if (ids.compare(ZERO_ID, 0, ID_BYTES, at, at + ID_BYTES) !== 0) add(block);
        }
      }
    } else {
      await this.#walk({ fromBlock, toBlock }, (id, block) => {
        if (!id.equals(ZERO_ID)) add(block);
      });
    }
    return runs.map(({ from, to }) => {
      const start = Math.max(from * this.#blockSize, offset);
      const end = Math.min(to * this.#blockSize, offset + length);
      return { offset: start, length: end - start };
    });
  }

  async #leaf(number: number): Promise<Buffer> {
    const fromBlock = number * LEAF_BLOCKS;
    let found: Buffer | undefined;
    await forEachBlock(this.#map({ fromBlock, toBlock: fromBlock + LEAF_BLOCKS }), ({ page }) => {
      found = page;
    });
    const page = found ?? ZERO_PAGE;
    this.#leaves.set(number, page);
    if (this.#leaves.size > KEPT_LEAVES) {
      const [oldest] = this.#leaves.keys();
      if (oldest !== undefined) this.#leaves.delete(oldest);
    }
    return page;
  }

  async #walk(
    range: { readonly fromBlock: number; readonly toBlock: number },
    visit: (id: Buffer, block: number) => void,
  ): Promise<void> {
    await forEachBlock(this.#map(range), ({ firstBlock, page, fromEntry, toEntry }) => {
      for (let entry = fromEntry; entry < toEntry; entry += 1) {
        visit(page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES), firstBlock + entry);
      }
    });
  }

  #map(range: {
    readonly fromBlock: number;
    readonly toBlock: number;
  }): Parameters<typeof forEachBlock>[0] {
    return { pages: this.#repository.parts.keeper.reader, root: this.#root, ...range };
  }
}
