/**
 * Reads blocks and pages by id: index → pack → frame → checked content (invariant 7). Also the page
 * source of every walk. Works in the main thread and in workers; each has its own.
 *
 * A block whose pack has meanwhile been compacted is looked up once more through `refresh`; a copy
 * that is damaged gives way to the next copy, and what was met is told to `onDamage`.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { newFound, type Found } from '../block-index/index.ts';
import type { Keyring } from '../keys/keyring.ts';
import type { PageSource } from '../map/placement.ts';
import { BoundedCache } from '../pack/bounded-cache.ts';
import { checkSlot } from '../pack/frame-reader.ts';
import { FooterCache, FrameCache } from '../pack/pack-caches.ts';
import type { CopyRules } from './copy-rules.ts';

const MEBIBYTE = 1024 * 1024;

export type BlockReaderOptions = {
  readonly keyring: Keyring;
  readonly store: ObjectStore;
  readonly find: (id: Buffer, into: Found) => Found;
  readonly rules: () => CopyRules;
  /** Brings index and rules up to date; false: nothing new can be known. */
  readonly refresh?: () => Promise<boolean>;
  /** Told of every copy that is there by the index and cannot be used. */
  readonly onDamage?: (damage: DamagedCopy) => void;
  readonly frameCacheBytes?: number;
};

export type DamagedCopy = {
  readonly pack: string;
  /** −1: the whole pack. */
  readonly frame: number;
  readonly error: HoldfastError;
};

/** Where a readable copy lies, best first. */
export type Place = { readonly packId: Buffer; readonly frame: number; readonly slot: number };

export class BlockReader implements PageSource {
  readonly #options: BlockReaderOptions;
  readonly #found = newFound();
  readonly #pages = new BoundedCache<Buffer>({
    limitBytes: 64 * MEBIBYTE,
    sizeOf: () => 1280,
  });
  readonly #frames: FrameCache;
  readonly footers: FooterCache;

  constructor(options: BlockReaderOptions) {
    const { store, keyring } = options;
    this.#options = options;
    this.footers = new FooterCache({ store, keys: keyring, limitBytes: 32 * MEBIBYTE });
    this.#frames = new FrameCache({
      store,
      keys: keyring,
      limitBytes: options.frameCacheBytes ?? 32 * MEBIBYTE,
    });
  }

  readonly cached = (id: Buffer): Buffer | undefined => this.#pages.peek(id.toString('latin1'));

  /** @throws {HoldfastError} `BlockMissing` if no readable copy is left. */
  readonly page = (id: Buffer): Promise<Buffer> => {
    const kept = Buffer.from(id);
    return this.#pages.get(kept.toString('latin1'), async () => Buffer.from(await this.read(kept)));
  };

  /**
   * The same pages without `refresh`: for whoever holds up the log while reading, and so would wait for
   * itself.
   */
  readonly unrefreshed: PageSource = {
    cached: this.cached,
    // Not by `get`: a load that it joined could be one that waits for the log.
    page: async (id) => {
      const kept = Buffer.from(id);
      const page = Buffer.from(await this.#read(kept, undefined));
      this.#pages.keep(kept.toString('latin1'), page);
      return page;
    },
  };

  /**
   * The copies of a block or page, the newest first; those that are known to be damaged last, for an object
   * that was put back from a copy: what is read is checked all the same.
   */
  places(id: Buffer): Place[] {
    const rules = this.#options.rules();
    const found = this.#found;
    this.#options.find(id, found);
    const places: (Place & { readonly pack: number; readonly isReadable: boolean })[] = [];
    for (let at = 0; at < found.copyCount; at += 1) {
      const [pack, frame, slot] = [found.packs[at]!, found.frames[at]!, found.slots[at]!];
      const packId = rules.packId(pack);
      if (packId === undefined) continue;
      places.push({ pack, packId, frame, slot, isReadable: rules.isReadable(pack, frame) });
    }
    return places.sort((a, b) => Number(b.isReadable) - Number(a.isReadable) || b.pack - a.pack);
  }

  /**
   * The content of a block or page, checked against its id. Shared memory: do not write into it.
   *
   * @throws {HoldfastError} `BlockMissing`, with what was wrong with each copy.
   */
  read(id: Buffer): Promise<Buffer> {
    return this.#read(id, this.#options.refresh);
  }

  async #read(id: Buffer, refresh: BlockReaderOptions['refresh']): Promise<Buffer> {
    const first = await this.#readPlaces(id);
    if (Buffer.isBuffer(first)) return first;
    const isNew = (await refresh?.()) ?? false;
    const second = isNew ? await this.#readPlaces(id) : first;
    if (Buffer.isBuffer(second)) return second;
    const why = second.map((damage) => damage.error.message).join('; ');
    for (const damage of second) this.#options.onDamage?.(damage);
    throw new HoldfastError(
      'BlockMissing',
      `block ${id.toString('hex')} has no readable copy${why === '' ? '' : `: ${why}`}`,
      { cause: second[0]?.error, details: { block: id.toString('hex') } },
    );
  }

  /** The content, or what is wrong with every copy. */
  async #readPlaces(id: Buffer): Promise<Buffer | DamagedCopy[]> {
    const damaged: DamagedCopy[] = [];
    for (const place of this.places(id)) {
      try {
        const content = await this.#readPlace(id, place);
        for (const damage of damaged) this.#options.onDamage?.(damage);
        return content;
      } catch (error) {
        if (!isLost(error)) throw error;
        const frame = error.code === 'ObjectNotFound' ? -1 : place.frame;
        damaged.push({ pack: place.packId.toString('hex'), frame, error });
      }
    }
    return damaged;
  }

  async #readPlace(id: Buffer, { packId, frame, slot }: Place): Promise<Buffer> {
    const footer = this.footers.peek(packId) ?? (await this.footers.table({ packId }));
    const raw = this.#frames.peek(footer, frame) ?? (await this.#frames.frame(footer, frame));
    return checkSlot({ keys: this.#options.keyring, footer, frame, slot, raw, id });
  }
}

function isLost(error: unknown): error is HoldfastError {
  return (
    isHoldfastError(error) && (error.code === 'ObjectDamaged' || error.code === 'ObjectNotFound')
  );
}
