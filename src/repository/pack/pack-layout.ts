/**
 * Sizes and fixed parts of a pack (docs/format.md §7):
 *
 *     ┌────────┬─────────┬─────┬────────┬────────────────────────────────────┐
 *     │ header │ frame 0 │  …  │ footer │ trailer                            │
 *     │ 32     │ sealed  │     │ sealed │ header ‖ lengths ‖ `HFPF`, 48      │
 *     └────────┴─────────┴─────┴────────┴────────────────────────────────────┘
 *
 * The trailer repeats the header, so the end of a pack is enough to open its footer. Nothing in the
 * trailer is believed: each field must agree with the footer, which is authenticated, and with the
 * size of the object.
 */
import type { KeyObject } from 'node:crypto';
import { HoldfastError } from '#base';
import { SESSION_ID_BYTES, packIdOf, packName, sessionOf, counterOf } from './pack-id.ts';

export type PackKind = 'data' | 'page';

/** What packs need of the repository's keys. */
export type PackKeys = {
  /** 16 bytes. */
  readonly repositoryId: Buffer;
  readonly blockSize: number;
  /** The generation that new packs are sealed under. */
  readonly generation: number;
  readonly blockId: (content: Buffer) => Buffer;
  readonly pageId: (content: Buffer) => Buffer;
  readonly packKey: (packId: Buffer, generation: number) => KeyObject;
};

export const HEADER_BYTES = 32;
export const TRAILER_BYTES = 48;
export const TAG_BYTES = 16;
export const ID_BYTES = 16;
export const ROW_BYTES = 16;
export const FOOTER_HEAD_BYTES = 8;
export const MAX_SLOTS = 255;
export const MAX_FRAMES = 4096;
export const MAX_PACK_BYTES = 2 ** 32 - 1;
/** A pack is full when its frames reach this. */
export const TARGET_BYTES = { data: 64 * 2 ** 20, page: 16 * 2 ** 20 } as const;
const PAGE_UNIT_BYTES = 1024;

const HEADER_MAGIC = 0x4b504648; // `HFPK`, little-endian
const TRAILER_MAGIC = 0x46504648; // `HFPF`
const VERSION = 1;
const KIND_CODES = { data: 5, page: 6 } as const;
const DATA_FRAME_BYTES = 256 * 1024;
const PAGE_FRAME_BYTES = 16 * 1024;

export type PackHeader = {
  readonly packId: Buffer;
  readonly kind: PackKind;
  readonly generation: number;
};

export type PackTrailer = {
  readonly header: PackHeader;
  readonly footerBytes: number;
  readonly frameCount: number;
  readonly sizeBytes: number;
};

/** Bytes of a slot in packs of this kind. */
export function unitOf(kind: PackKind, blockSize: number): number {
  return kind === 'data' ? blockSize : PAGE_UNIT_BYTES;
}

/** The most bytes a frame may have before compression. */
export function frameLimit(kind: PackKind, blockSize: number): number {
  return kind === 'data' ? Math.max(DATA_FRAME_BYTES, blockSize) : PAGE_FRAME_BYTES;
}

export function encodeHeader({ packId, kind, generation }: PackHeader): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_MAGIC, 0);
  header[4] = VERSION;
  header[5] = KIND_CODES[kind];
  header.writeUInt32LE(generation, 8);
  header.writeUInt32LE(counterOf(packId), 12);
  sessionOf(packId).copy(header, HEADER_BYTES - SESSION_ID_BYTES);
  return header;
}

export function encodeTrailer(trailer: PackTrailer): Buffer {
  const lengths = Buffer.alloc(TRAILER_BYTES - HEADER_BYTES);
  lengths.writeUInt32LE(trailer.footerBytes, 0);
  lengths.writeUInt32LE(trailer.frameCount, 4);
  lengths.writeUInt32LE(trailer.sizeBytes, 8);
  lengths.writeUInt32LE(TRAILER_MAGIC, 12);
  return Buffer.concat([encodeHeader(trailer.header), lengths]);
}

/** @throws {HoldfastError} `ObjectDamaged` unless `bytes` is the trailer of the pack `packId`. */
export function decodeTrailer(bytes: Buffer, packId: Buffer): PackTrailer {
  const name = packName(packId);
  if (bytes.readUInt32LE(HEADER_BYTES + 12) !== TRAILER_MAGIC) {
    throw packDamaged(name, 'it does not end with the trailer of a pack');
  }
  return {
    header: decodeHeader(bytes.subarray(0, HEADER_BYTES), packId),
    footerBytes: bytes.readUInt32LE(HEADER_BYTES),
    frameCount: bytes.readUInt32LE(HEADER_BYTES + 4),
    sizeBytes: bytes.readUInt32LE(HEADER_BYTES + 8),
  };
}

function decodeHeader(bytes: Buffer, packId: Buffer): PackHeader {
  const name = packName(packId);
  const kind = (['data', 'page'] as const).find((known) => KIND_CODES[known] === bytes[5]);
  if (bytes.readUInt32LE(0) !== HEADER_MAGIC || kind === undefined) {
    throw packDamaged(name, 'its trailer does not repeat the header of a pack');
  }
  if (bytes[4] !== VERSION) throw packDamaged(name, `its format version is ${bytes[4]}`);
  const session = bytes.subarray(HEADER_BYTES - SESSION_ID_BYTES, HEADER_BYTES);
  const found = packIdOf({ session, counter: bytes.readUInt32LE(12) });
  if (!found.equals(packId)) throw packDamaged(name, `it is pack ${found.toString('hex')}`);
  const header = { packId, kind, generation: bytes.readUInt32LE(8) };
  if (!encodeHeader(header).equals(bytes)) throw packDamaged(name, 'its header has unknown bits');
  return header;
}

type DamagePlace = { readonly frame?: number; readonly cause?: unknown };

/** The error of every damaged pack: `what` reads on after "pack <name> is damaged:". */
export function packDamaged(name: string, what: string, place: DamagePlace = {}): HoldfastError {
  const { frame, cause } = place;
  const where = frame === undefined ? what : `frame ${frame}: ${what}`;
  return new HoldfastError('ObjectDamaged', `pack ${name} is damaged: ${where}`, {
    ...(cause === undefined ? {} : { cause }),
    details: frame === undefined ? { object: name } : { object: name, frame },
  });
}
