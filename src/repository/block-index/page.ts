/**
 * The 4 KiB page of a run: 32 bytes of header, then up to 127 records, then zeros.
 *
 *     0  CRC-32 of bytes 4–4095    8   page number in the run, u32    16  zeros
 *     4  `HFIP`                    12  record count, u32
 */
import { crc32 } from 'node:zlib';
import { HoldfastError } from '#base';
import { RECORD_BYTES } from './record.ts';

export const PAGE_BYTES = 4096;
export const PAGE_HEADER_BYTES = 32;
export const PAGE_RECORDS = (PAGE_BYTES - PAGE_HEADER_BYTES) / RECORD_BYTES;
const MAGIC = 0x5049_4648;

/** Fills in the header of `page`, whose records and zeros are in place. */
export function sealPage(page: Buffer, number: number, recordCount: number): void {
  page.writeUInt32LE(MAGIC, 4);
  page.writeUInt32LE(number, 8);
  page.writeUInt32LE(recordCount, 12);
  page.writeUInt32LE(crc32(page.subarray(4)), 0);
}

/**
 * Checks a page that was read; `body` is the page from byte 4 on.
 *
 * @throws {HoldfastError} `IndexDamaged`
 */
export function checkPage(
  page: Buffer,
  body: Buffer,
  where: { path: string; number: number },
): void {
  const isWhole =
    page.readUInt32LE(0) === crc32(body) &&
    page.readUInt32LE(4) === MAGIC &&
    page.readUInt32LE(8) === where.number &&
    page.readUInt32LE(12) <= PAGE_RECORDS;
  if (!isWhole) throw pageDamaged(where, undefined);
}

export function pageDamaged(
  where: { path: string; number: number },
  cause: unknown,
): HoldfastError {
  return new HoldfastError('IndexDamaged', `page ${where.number} of ${where.path} is damaged`, {
    cause,
    details: { reason: 'damaged', path: where.path, page: where.number },
  });
}
