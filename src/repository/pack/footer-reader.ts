/**
 * Reads the footer of a pack from its end: usually one request, since 256 KiB hold the footer of a
 * full pack of 16 KiB blocks (about 600 frames: 170 KB).
 */
import { HoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { PackCipher } from './pack-cipher.ts';
import { packName } from './pack-id.ts';
import {
  HEADER_BYTES,
  ID_BYTES,
  MAX_FRAMES,
  MAX_PACK_BYTES,
  MAX_SLOTS,
  TAG_BYTES,
  TRAILER_BYTES,
  decodeTrailer,
  encodeHeader,
  packDamaged,
  type PackKeys,
  type PackKind,
  type PackTrailer,
} from './pack-layout.ts';
import { decodeFooter, footerBytes, type FrameTable, type PackFooter } from './pack-footer.ts';

const TAIL_BYTES = 256 * 1024;
const SMALLEST_FRAME_BYTES = TAG_BYTES + 1;
const SMALLEST_PACK_BYTES =
  HEADER_BYTES + SMALLEST_FRAME_BYTES + footerBytes(1, 1) + TAG_BYTES + TRAILER_BYTES;

export type PackSource = { readonly store: ObjectStore; readonly keys: PackKeys };

export type PackRequest = PackSource & {
  readonly packId: Buffer;
  /** If known (the log says it): a pack of another kind is damage. */
  readonly kind?: PackKind | undefined;
  /** If known: saves asking the store for it. */
  readonly sizeBytes?: number | undefined;
};

/**
 * @throws {HoldfastError} `ObjectNotFound`; `ObjectDamaged` naming the pack and what is wrong with it,
 *   before anything is allocated by an unchecked length.
 */
export async function readFooter(request: PackRequest): Promise<PackFooter> {
  const { store, keys, packId } = request;
  const name = packName(packId);
  const sizeBytes = request.sizeBytes ?? (await sizeOf(store, name));
  if (sizeBytes < SMALLEST_PACK_BYTES || sizeBytes > MAX_PACK_BYTES) {
    throw packDamaged(name, `no pack has ${sizeBytes} bytes`);
  }
  const tailBytes = Math.min(sizeBytes, TAIL_BYTES);
  const tail = await store.readRange(name, {
    offsetBytes: sizeBytes - tailBytes,
    lengthBytes: tailBytes,
  });
  const trailer = decodeTrailer(tail.subarray(tailBytes - TRAILER_BYTES), packId);
  checkTrailer(trailer, { name, sizeBytes, kind: request.kind });
  const missing = trailer.footerBytes + TRAILER_BYTES - tailBytes;
  const range = { offsetBytes: sizeBytes - tailBytes - missing, lengthBytes: missing };
  const end =
    missing > 0
      ? Buffer.concat([await store.readRange(name, range), tail])
      : tail.subarray(-missing);
  const sealed = end.subarray(0, trailer.footerBytes);
  const plaintext = new PackCipher(keys, trailer.header).openFooter(sealed);
  const context = { header: trailer.header, blockSize: keys.blockSize, sizeBytes };
  const footer = decodeFooter(plaintext, context);
  if (footer.frameCount === trailer.frameCount) return footer;
  throw packDamaged(name, `its trailer claims ${trailer.frameCount} frames`);
}

/**
 * Checks what the footer alone does not show: that the object has its size and begins with its
 * header. With every frame opened, each byte of the pack has then been checked.
 *
 * @throws {HoldfastError} `ObjectDamaged`, `ObjectNotFound`.
 */
export async function checkPackEnds(store: ObjectStore, table: FrameTable): Promise<void> {
  const sizeBytes = await sizeOf(store, table.name);
  if (sizeBytes !== table.sizeBytes) {
    throw packDamaged(table.name, `it has ${sizeBytes} bytes, not ${table.sizeBytes}`);
  }
  const header = await store.readRange(table.name, { offsetBytes: 0, lengthBytes: HEADER_BYTES });
  if (!header.equals(encodeHeader(table))) throw packDamaged(table.name, 'its header is another');
}

type Expected = {
  readonly name: string;
  readonly sizeBytes: number;
  readonly kind: PackKind | undefined;
};

function checkTrailer(trailer: PackTrailer, { name, sizeBytes, kind }: Expected): void {
  const { frameCount } = trailer;
  if (trailer.sizeBytes !== sizeBytes) {
    throw packDamaged(name, `it has ${sizeBytes} bytes, its trailer says ${trailer.sizeBytes}`);
  }
  if (kind !== undefined && trailer.header.kind !== kind) {
    throw packDamaged(name, `it is a ${trailer.header.kind} pack, not a ${kind} pack`);
  }
  if (frameCount < 1 || frameCount > MAX_FRAMES) {
    throw packDamaged(name, `its trailer claims ${frameCount} frames`);
  }
  const rows = trailer.footerBytes - TAG_BYTES - footerBytes(frameCount, 0);
  const framesBytes = sizeBytes - HEADER_BYTES - TRAILER_BYTES - trailer.footerBytes;
  const possible =
    rows >= frameCount * ID_BYTES &&
    rows <= frameCount * MAX_SLOTS * ID_BYTES &&
    rows % ID_BYTES === 0 &&
    framesBytes >= frameCount * SMALLEST_FRAME_BYTES;
  if (!possible) {
    const claim = `${trailer.footerBytes} bytes for ${frameCount} frames`;
    throw packDamaged(name, `its trailer claims a footer of ${claim}`);
  }
}

async function sizeOf(store: ObjectStore, name: string): Promise<number> {
  const sizeBytes = await store.size(name);
  if (sizeBytes !== undefined) return sizeBytes;
  throw new HoldfastError('ObjectNotFound', `pack ${name} is not in ${store.location}`, {
    details: { object: name },
  });
}
