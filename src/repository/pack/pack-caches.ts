/**
 * What readers keep of packs: tables of frames, and contents of frames. Packs never change
 * (invariant 1), so nothing here goes stale; of a pack that was deleted, a frame not at hand is
 * `ObjectNotFound`.
 */
import { BoundedCache } from './bounded-cache.ts';
import { readFooter, type PackRequest, type PackSource } from './footer-reader.ts';
import { readFrame } from './frame-reader.ts';
import { packName } from './pack-id.ts';
import type { FrameTable, PackFooter } from './pack-footer.ts';

type CacheOptions = PackSource & { readonly limitBytes: number };
type WantedPack = Omit<PackRequest, keyof PackSource>;

/** Map entries, the object and its names, counted generously. */
const TABLE_OVERHEAD_BYTES = 1024;
const TABLE_ROW_BYTES = 18;
/** What a decompressed frame's memory may have beside it. */
const SPARE_BYTES = 64;

export class FooterCache {
  readonly #source: PackSource;
  readonly #tables: BoundedCache<FrameTable>;
  readonly #footers: BoundedCache<PackFooter>;

  /** @param options.limitBytes of memory: half for tables, half for footers with ids. */
  constructor({ store, keys, limitBytes }: CacheOptions) {
    this.#source = { store, keys };
    this.#tables = new BoundedCache({ limitBytes: limitBytes / 2, sizeOf: tableBytes });
    this.#footers = new BoundedCache({
      limitBytes: limitBytes / 2,
      sizeOf: (footer) => tableBytes(footer) + footer.ids.length,
    });
  }

  /** The pack's table if it is at hand. */
  peek(packId: Buffer): FrameTable | undefined {
    return this.#tables.peek(packName(packId));
  }

  /** The pack's frames, without ids, which are many times larger. @throws as `readFooter`. */
  async table(pack: WantedPack): Promise<FrameTable> {
    return this.#tables.get(packName(pack.packId), async () => {
      const { ids: _, ...table } = await readFooter({ ...this.#source, ...pack });
      return table;
    });
  }

  /** The pack's frames and ids. @throws as `readFooter`. */
  async footer(pack: WantedPack): Promise<PackFooter> {
    const name = packName(pack.packId);
    return this.#footers.get(name, () => readFooter({ ...this.#source, ...pack }));
  }
}

/** Contents of frames; what it gives is shared: callers do not write into it. */
export class FrameCache {
  readonly #source: PackSource;
  readonly #frames: BoundedCache<Buffer>;

  constructor({ store, keys, limitBytes }: CacheOptions) {
    this.#source = { store, keys };
    this.#frames = new BoundedCache({ limitBytes, sizeOf: (raw) => raw.length });
  }

  /** The frame's content if it is at hand. */
  peek(footer: FrameTable, frame: number): Buffer | undefined {
    return this.#frames.peek(`${footer.name}#${frame}`);
  }

  /** The frame's content, read if need be; one read for callers that overlap. @throws as `readFrame`. */
  async frame(footer: FrameTable, frame: number): Promise<Buffer> {
    const key = `${footer.name}#${frame}`;
    return this.#frames.get(key, async () =>
      unpooled(await readFrame({ ...this.#source, footer, frame })),
    );
  }
}

function tableBytes({ frameCount }: FrameTable): number {
  return TABLE_OVERHEAD_BYTES + frameCount * TABLE_ROW_BYTES;
}

/** Small buffers are parts of Node's pool, and keeping one keeps all of its 64 KiB. */
function unpooled(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= bytes.length + SPARE_BYTES) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
