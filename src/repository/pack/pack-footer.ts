/**
 * The footer of a pack: where its frames lie and which ids their slots have (docs/format.md §7).
 *
 *     plaintext = frame count (u32) ‖ unit (u32) ‖ row (16) × frames ‖ id (16) × slots
 *     row       = offset (u32) ‖ sealed length (u32) ‖ raw length (u32) ‖ slots (u16) ‖ codec (u8) ‖ 0
 *
 * Decoding believes nothing: a table that is returned is contiguous, within every limit of the format
 * and fills its pack exactly, so readers may allocate by its lengths.
 */
import assert from 'node:assert/strict';
import { packName } from './pack-id.ts';
import {
  FOOTER_HEAD_BYTES,
  HEADER_BYTES,
  ID_BYTES,
  MAX_FRAMES,
  MAX_SLOTS,
  ROW_BYTES,
  TAG_BYTES,
  TRAILER_BYTES,
  frameLimit,
  packDamaged,
  unitOf,
  type PackHeader,
  type PackKind,
} from './pack-layout.ts';

/** A pack's frames; the arrays have one element a frame. */
export type FrameTable = PackHeader & {
  /** The object's name. */
  readonly name: string;
  readonly kind: PackKind;
  readonly unitBytes: number;
  /** Of the whole object. */
  readonly sizeBytes: number;
  readonly frameCount: number;
  readonly offsets: Uint32Array;
  readonly sealedLengths: Uint32Array;
  readonly rawLengths: Uint32Array;
  readonly slotCounts: Uint8Array;
  /** 0: raw, 1: zstd. */
  readonly codecs: Uint8Array;
  /** One element more: slots of the frames before, so the last is the number of all slots. */
  readonly firstSlots: Uint32Array;
};

/** The table and the ids of all slots, 16 bytes each, in order. */
export type PackFooter = FrameTable & { readonly ids: Buffer };

/** What is known of a pack before its footer is decoded. */
export type FooterContext = {
  readonly header: PackHeader;
  readonly blockSize: number;
  readonly sizeBytes: number;
};

/** The view of one slot's id. */
export function idOf(footer: PackFooter, frame: number, slot: number): Buffer {
  const start = (at(footer.firstSlots, frame) + slot) * ID_BYTES;
  return footer.ids.subarray(start, start + ID_BYTES);
}

/** Stored bytes of a slot: an equal part of its sealed frame; the last slot has the rest as well. */
export function shareOf(table: FrameTable, frame: number, slot: number): number {
  const sealedLength = at(table.sealedLengths, frame);
  const slots = at(table.slotCounts, frame);
  assert(slot >= 0 && slot < slots, 'slot');
  const share = Math.floor(sealedLength / slots);
  return slot === slots - 1 ? sealedLength - share * (slots - 1) : share;
}

export function footerBytes(frameCount: number, slotCount: number): number {
  return FOOTER_HEAD_BYTES + frameCount * ROW_BYTES + slotCount * ID_BYTES;
}

/** The plaintext of the footer; `decodeFooter` of it gives an equal footer. */
export function encodeFooter(footer: PackFooter): Buffer {
  const { frameCount, ids } = footer;
  const bytes = Buffer.alloc(footerBytes(frameCount, ids.length / ID_BYTES));
  bytes.writeUInt32LE(frameCount, 0);
  bytes.writeUInt32LE(footer.unitBytes, 4);
  for (let frame = 0; frame < frameCount; frame++) {
    const row = FOOTER_HEAD_BYTES + frame * ROW_BYTES;
    bytes.writeUInt32LE(at(footer.offsets, frame), row);
    bytes.writeUInt32LE(at(footer.sealedLengths, frame), row + 4);
    bytes.writeUInt32LE(at(footer.rawLengths, frame), row + 8);
    bytes.writeUInt16LE(at(footer.slotCounts, frame), row + 12);
    bytes[row + 14] = at(footer.codecs, frame);
  }
  ids.copy(bytes, FOOTER_HEAD_BYTES + frameCount * ROW_BYTES);
  return bytes;
}

/**
 * @param bytes the plaintext, whose memory the footer's ids share.
 * @throws {HoldfastError} `ObjectDamaged` naming the first rule of the format that is broken.
 */
export function decodeFooter(
  bytes: Buffer,
  { header, blockSize, sizeBytes }: FooterContext,
): PackFooter {
  const name = packName(header.packId);
  const frameCount = bytes.length < FOOTER_HEAD_BYTES ? 0 : bytes.readUInt32LE(0);
  if (frameCount < 1 || frameCount > MAX_FRAMES || bytes.length < footerBytes(frameCount, 0)) {
    throw packDamaged(name, `its footer of ${bytes.length} bytes claims ${frameCount} frames`);
  }
  const unitBytes = unitOf(header.kind, blockSize);
  if (bytes.readUInt32LE(4) !== unitBytes) {
    throw packDamaged(name, `its slots are ${bytes.readUInt32LE(4)} bytes, not ${unitBytes}`);
  }
  const table = newTable({ ...header, name, unitBytes, sizeBytes, frameCount });
  const limitBytes = frameLimit(header.kind, blockSize);
  let offset = HEADER_BYTES;
  for (let frame = 0; frame < frameCount; frame++) {
    offset = decodeRow({ bytes, table, frame, offset, limitBytes });
  }
  const slotCount = at(table.firstSlots, frameCount);
  if (bytes.length !== footerBytes(frameCount, slotCount)) {
    throw packDamaged(name, `its footer of ${bytes.length} bytes claims ${slotCount} slots`);
  }
  if (offset + bytes.length + TAG_BYTES + TRAILER_BYTES !== sizeBytes) {
    throw packDamaged(name, `its frames end at ${offset}, which is not where its footer begins`);
  }
  const ids = bytes.subarray(footerBytes(frameCount, 0));
  if (hasZeroId(ids)) throw packDamaged(name, 'a slot has the id of zeros');
  return { ...table, ids };
}

type RowContext = {
  readonly bytes: Buffer;
  readonly table: FrameTable;
  readonly frame: number;
  /** Where the frame before ends. */
  readonly offset: number;
  readonly limitBytes: number;
};

/** Fills one row of the table. @returns the offset where its frame ends. */
function decodeRow({ bytes, table, frame, offset, limitBytes }: RowContext): number {
  const row = FOOTER_HEAD_BYTES + frame * ROW_BYTES;
  const sealedLength = bytes.readUInt32LE(row + 4);
  const rawLength = bytes.readUInt32LE(row + 8);
  const slots = bytes.readUInt16LE(row + 12);
  const codec = bytes.readUInt8(row + 14);
  const problem = frameProblem({
    sealedLength,
    rawLength,
    slots,
    codec,
    limitBytes,
    unitBytes: table.unitBytes,
  });
  if (problem !== undefined) throw packDamaged(table.name, problem, { frame });
  if (bytes.readUInt32LE(row) !== offset) {
    throw packDamaged(table.name, `begins at ${bytes.readUInt32LE(row)}, not ${offset}`, { frame });
  }
  if (bytes[row + 15] !== 0) throw packDamaged(table.name, 'its row has unknown bits', { frame });
  table.offsets[frame] = offset;
  table.sealedLengths[frame] = sealedLength;
  table.rawLengths[frame] = rawLength;
  table.slotCounts[frame] = slots;
  table.codecs[frame] = codec;
  table.firstSlots[frame + 1] = at(table.firstSlots, frame) + slots;
  return offset + sealedLength;
}

export type FrameShape = {
  readonly sealedLength: number;
  readonly rawLength: number;
  readonly slots: number;
  readonly codec: number;
  readonly unitBytes: number;
  readonly limitBytes: number;
};

/** The rule of the format that a frame of this shape breaks, or undefined. */
export function frameProblem(shape: FrameShape): string | undefined {
  const { sealedLength, rawLength, slots, codec, unitBytes, limitBytes } = shape;
  const storedLength = sealedLength - TAG_BYTES;
  if (slots < 1 || slots > MAX_SLOTS) return `it has ${slots} slots`;
  if (rawLength !== slots * unitBytes) return `it has ${rawLength} bytes for ${slots} slots`;
  if (rawLength > limitBytes) return `its ${rawLength} bytes are above the limit of ${limitBytes}`;
  if (codec !== 0 && codec !== 1) return `its codec is ${codec}`;
  const fits =
    codec === 0 ? storedLength === rawLength : storedLength > 0 && storedLength < rawLength;
  if (!fits) return `codec ${codec} stored ${rawLength} bytes as ${storedLength}`;
  return undefined;
}

export function hasZeroId(ids: Buffer): boolean {
  for (let start = 0; start < ids.length; start += ID_BYTES) {
    let byte = start;
    while (byte < start + ID_BYTES && ids[byte] === 0) byte++;
    if (byte === start + ID_BYTES) return true;
  }
  return false;
}

type TableHead = Omit<
  FrameTable,
  'offsets' | 'sealedLengths' | 'rawLengths' | 'slotCounts' | 'codecs' | 'firstSlots'
>;

/** A table of `frameCount` frames, all zero. */
export function newTable(head: TableHead): FrameTable {
  const { frameCount } = head;
  return {
    ...head,
    offsets: new Uint32Array(frameCount),
    sealedLengths: new Uint32Array(frameCount),
    rawLengths: new Uint32Array(frameCount),
    slotCounts: new Uint8Array(frameCount),
    codecs: new Uint8Array(frameCount),
    firstSlots: new Uint32Array(frameCount + 1),
  };
}

/** The element of an index that must exist: anything else is a bug of the caller. */
export function at(array: Uint32Array | Uint8Array, index: number): number {
  const value = array[index];
  assert(value !== undefined, `no frame ${index}`);
  return value;
}
