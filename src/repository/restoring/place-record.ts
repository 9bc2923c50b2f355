/**
 * Where one block of a disk lies, as 32 bytes: what a restore plan is made of. Little-endian:
 *
 *     block id (16) ‖ pack number (u32) ‖ frame (u16) ‖ slot (u8) ‖ disk (u8) ‖ block of the disk (f64)
 *
 * The pack number is the index's; `NO_PACK` where no readable copy is known.
 */

export const RECORD_BYTES = 32;
export const NO_PACK = 0xffff_ffff;
export const MOST_DISKS = 256;
const ID_BYTES = 16;

export type PlaceRecord = {
  readonly id: Buffer;
  readonly pack: number;
  readonly frame: number;
  readonly slot: number;
  /** Position of the disk in the request. */
  readonly disk: number;
  readonly block: number;
};

/** Writes record number `at` of `records`. */
export function writeRecord(records: Buffer, at: number, record: PlaceRecord): void {
  const start = at * RECORD_BYTES;
  record.id.copy(records, start, 0, ID_BYTES);
  records.writeUInt32LE(record.pack, start + 16);
  records.writeUInt16LE(record.frame, start + 20);
  records[start + 22] = record.slot;
  records[start + 23] = record.disk;
  records.writeDoubleLE(record.block, start + 24);
}

/** Record number `at`; `id` is a view into `records`. */
export function readRecord(records: Buffer, at: number): PlaceRecord {
  const start = at * RECORD_BYTES;
  return {
    id: records.subarray(start, start + ID_BYTES),
    pack: packOf(records, at),
    frame: frameOf(records, at),
    slot: records[start + 22]!,
    disk: records[start + 23]!,
    block: records.readDoubleLE(start + 24),
  };
}

export function packOf(records: Buffer, at: number): number {
  return records.readUInt32LE(at * RECORD_BYTES + 16);
}

export function frameOf(records: Buffer, at: number): number {
  return records.readUInt16LE(at * RECORD_BYTES + 20);
}
