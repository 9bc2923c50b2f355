/**
 * Writes one unit of a disk's map: a level-1 page (4096 blocks) and the 64 leaves below it. Compares
 * each block with the previous point's, stores what is new, and gives the unit's page id. This is the
 * hot loop's repository half; it runs in worker threads.
 *
 * The previous map is a hint for speed only where it can be read: a leaf that cannot (damage) counts
 * as unknown, so all its blocks must be given.
 */
import { strict as assert } from 'node:assert';
import { isHoldfastError } from '#base';
import type { Keyring } from '../keys/keyring.ts';
import type { PageSource } from '../map/placement.ts';
import type { BlockWriter } from './block-writer.ts';

const ENTRIES = 64;
const ID_BYTES = 16;
const PAGE_BYTES = ENTRIES * ID_BYTES;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);
const ZERO_ID = Buffer.alloc(ID_BYTES);

export type UnitStatistics = {
  /** Blocks that differ from the previous point's. */
  changedBlocks: number;
  /** Bytes of blocks and pages that were not stored before, uncompressed. */
  newBytes: number;
};

export type UnitWriterOptions = {
  readonly keyring: Keyring;
  readonly writer: BlockWriter;
  readonly previous: PageSource;
  /** Whether unchanged blocks must be looked up too, because copies are damaged. */
  readonly isHealing: () => boolean;
};

/** What is to be stored at one leaf. */
export type LeafContent = {
  /** All of the leaf's blocks on the disk, in order, whole (a disk's last is padded with zeros). */
  readonly bytes: Buffer;
  /** One byte a block: 1, `bytes` has it; 0, it is as the previous point says. Absent: all 1. */
  readonly given?: Uint8Array;
};

export class UnitWriter {
  readonly #options: UnitWriterOptions;
  readonly #zeroBlock: Buffer;
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly statistics: UnitStatistics = { changedBlocks: 0, newBytes: 0 };
  #previousPage: Buffer | undefined = ZERO_PAGE;
  #previousId = ZERO_ID;
  /** The open leaf, as it will be and as it was. */
  #leaf = 0;
  readonly #leafPage = Buffer.alloc(PAGE_BYTES);
  #previousLeaf: Buffer | undefined;

  constructor(options: UnitWriterOptions) {
    this.#options = options;
    this.#zeroBlock = Buffer.alloc(options.keyring.blockSize);
  }

  /**
   * Begins a unit; `previousId` is its page's id in the previous point (zeros: none). Leaves from
   * `leafCount` on lie past the end of the disk and become zeros.
   */
  async open(previousId: Buffer, leafCount: number): Promise<void> {
    this.#previousId = Buffer.from(previousId);
    this.#previousPage = await this.#readPrevious(previousId);
    this.#page.set(this.#previousPage ?? ZERO_PAGE);
    this.#page.fill(0, leafCount * ID_BYTES);
  }

  async #readPrevious(id: Buffer): Promise<Buffer | undefined> {
    if (id.equals(ZERO_ID)) return ZERO_PAGE;
    const cached = this.#options.previous.cached(id);
    if (cached !== undefined) return cached;
    try {
      return await this.#options.previous.page(id);
    } catch (error) {
      if (isHoldfastError(error) && error.kind === 'corrupt') return undefined;
      throw error;
    }
  }

  /** The previous point's leaf page; undefined if it cannot be read: then give every block. */
  async previousLeaf(leaf: number): Promise<Buffer | undefined> {
    if (this.#previousPage === undefined) return undefined;
    return this.#readPrevious(entryOf(this.#previousPage, leaf));
  }

  /** Makes leaf 0–63 all zeros. */
  async writeZeros(leaf: number): Promise<void> {
    const previous = await this.previousLeaf(leaf);
    if (previous === undefined) this.statistics.changedBlocks += ENTRIES;
    else this.statistics.changedBlocks += countNonZero(previous);
    ZERO_ID.copy(this.#page, leaf * ID_BYTES);
  }

  /** Stores leaf 0–63 with `content`. `content.bytes` may be reused when the promise resolves. */
  async writeLeaf(leaf: number, content: LeafContent): Promise<void> {
    const { blockSize } = this.#options.keyring;
    const { bytes, given } = content;
    const isKnown = await this.openLeaf(leaf);
    assert.ok(isKnown || given === undefined, 'every block must be given');
    const blockCount = bytes.length / blockSize;
    for (let at = 0; at < blockCount; at += 1) {
      if (given?.[at] === 0) continue;
      const write = this.writeBlocks(at, bytes.subarray(at * blockSize, (at + 1) * blockSize));
      if (write !== undefined) await write;
    }
    if (given === undefined) this.writeHole(blockCount, ENTRIES - blockCount);
    await this.closeLeaf();
  }

  /**
   * Begins leaf 0–63: each of its blocks is as the previous point says until `writeBlocks` or
   * `writeHole` says otherwise; then `closeLeaf`.
   *
   * @returns false if the previous point's leaf cannot be read: then every block must be given.
   */
  async openLeaf(leaf: number): Promise<boolean> {
    this.#leaf = leaf;
    this.#previousLeaf = await this.previousLeaf(leaf);
    this.#leafPage.set(this.#previousLeaf ?? ZERO_PAGE);
    return this.#previousLeaf !== undefined;
  }

  /**
   * Stores whole blocks of the open leaf from `firstEntry` on. `bytes` may be reused on return, or, where
   * a promise is returned, when it resolves.
   */
  writeBlocks(firstEntry: number, bytes: Buffer): Promise<void> | undefined {
    const { blockSize } = this.#options.keyring;
    for (let at = 0; at < bytes.length; at += blockSize) {
      const entry = firstEntry + at / blockSize;
      const write = this.#writeBlock(bytes.subarray(at, at + blockSize), entry);
      if (write === undefined) continue;
      const rest = bytes.subarray(at + blockSize);
      return rest.length === 0
        ? write
        : write.then(async () => await this.writeBlocks(entry + 1, rest));
    }
    return undefined;
  }

  /** Makes blocks of the open leaf zeros. */
  writeHole(firstEntry: number, count: number): void {
    const end = (firstEntry + count) * ID_BYTES;
    const before = this.#previousLeaf?.subarray(firstEntry * ID_BYTES, end);
    this.statistics.changedBlocks += before === undefined ? count : countNonZero(before);
    this.#leafPage.fill(0, firstEntry * ID_BYTES, end);
  }

  async closeLeaf(): Promise<void> {
    const previous = this.#previousLeaf;
    const page = this.#leafPage;
    if (previous !== undefined && !this.#options.isHealing() && page.equals(previous)) return;
    const id = await this.#store(page);
    id.copy(this.#page, this.#leaf * ID_BYTES);
  }

  /** Compares one block with the previous point's and stores it if it is new. */
  #writeBlock(block: Buffer, at: number): Promise<void> | undefined {
    const entry = entryOf(this.#leafPage, at);
    const isKnown = this.#previousLeaf !== undefined;
    if (block.equals(this.#zeroBlock)) {
      if (!isKnown || !entry.equals(ZERO_ID)) this.statistics.changedBlocks += 1;
      entry.fill(0);
      return undefined;
    }
    const id = this.#options.keyring.blockId(block);
    const isSame = isKnown && entry.equals(id);
    if (!isSame) this.statistics.changedBlocks += 1;
    if (isSame && !this.#options.isHealing()) return undefined;
    id.copy(entry);
    return this.#put('data', block, id);
  }

  async #store(page: Buffer): Promise<Buffer> {
    if (page.equals(ZERO_PAGE)) return ZERO_ID;
    const id = this.#options.keyring.pageId(page);
    // Of a unit that cannot be read, the leaves could not be looked at: their copies may be bad as well.
    if (this.#previousPage === undefined) await this.#storeAnew(page, id);
    else await this.#put('page', page, id);
    return id;
  }

  #put(kind: 'data' | 'page', content: Buffer, id: Buffer): Promise<void> | undefined {
    const { writer } = this.#options;
    const before = writer.newBytes;
    const write = writer.put(kind, content, id);
    this.statistics.newBytes += writer.newBytes - before;
    return write;
  }

  async #storeAnew(page: Buffer, id: Buffer): Promise<void> {
    await this.#options.writer.store('page', page, id);
    this.statistics.newBytes += page.length;
  }

  /** Ends the unit. @returns its page's id. */
  async finish(): Promise<Buffer> {
    const unchanged = this.#previousPage?.equals(this.#page) === true && !this.#options.isHealing();
    return unchanged ? this.#previousId : Buffer.from(await this.#store(this.#page));
  }
}

function entryOf(page: Buffer, at: number): Buffer {
  return page.subarray(at * ID_BYTES, (at + 1) * ID_BYTES);
}

/** Ids in `page`, a part of a page, that are not of zeros. */
function countNonZero(page: Buffer): number {
  let count = 0;
  for (let at = 0; at < page.length / ID_BYTES; at += 1) {
    if (!entryOf(page, at).equals(ZERO_ID)) count += 1;
  }
  return count;
}
