/**
 * One record of the index: 32 bytes, one copy of a block or a bare change of its count.
 *
 *     0      id, 16 bytes                     22  slot in the frame, u8
 *     16     pack number, u32 (NO_PACK: none) 23  share in bytes, u24
 *     20     frame in the pack, u16           26  placement count, i48, a delta
 *
 * An id's count is the sum over its records, its copies are its records with a pack. Inside this
 * folder an id is a *key*: four u32 that compare like the bytes; frame and slot are one *place*.
 */

export const RECORD_BYTES = 32;
export const ID_BYTES = 16;
/** The pack number of a record that holds only a count. */
export const NO_PACK = 0xffff_ffff;

/** Four u32, most significant first. */
export type Key = Uint32Array;

/** Where a block lies: the pack's number in the pack table, frame, slot. */
export type Copy = {
  readonly pack: number;
  readonly frame: number;
  readonly slot: number;
  /** Stored bytes: the slot's share of its frame. */
  readonly share: number;
};

export const newKey = (): Key => new Uint32Array(4);

/** Reads the 16-byte id at `offset` of `bytes`; throws a RangeError if it is not all there. */
export function loadKey(key: Key, bytes: Buffer, offset = 0): void {
  key[0] = bytes.readUInt32BE(offset);
  key[1] = bytes.readUInt32BE(offset + 4);
  key[2] = bytes.readUInt32BE(offset + 8);
  key[3] = bytes.readUInt32BE(offset + 12);
}

export function storeKey(key: Key, bytes: Buffer): void {
  for (let word = 0; word < 4; word++) bytes.writeUInt32BE(key[word]!, word * 4);
}

/** Below, at or above 0 as the record's id at `offset` sorts before, at or after `key`. */
export function compareRecord(view: DataView, offset: number, key: Key): number {
  const first = view.getUint32(offset);
  if (first !== key[0]!) return first < key[0]! ? -1 : 1;
  for (let word = 1; word < 4; word++) {
    const value = view.getUint32(offset + word * 4);
    if (value !== key[word]!) return value < key[word]! ? -1 : 1;
  }
  return 0;
}

export function loadRecordKey(key: Key, view: DataView, offset: number): void {
  key[0] = view.getUint32(offset);
  key[1] = view.getUint32(offset + 4);
  key[2] = view.getUint32(offset + 8);
  key[3] = view.getUint32(offset + 12);
}
