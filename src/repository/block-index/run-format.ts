/** What describes a run outside its pages: the footer of its file and its shared tables. */
import { crc32 } from 'node:zlib';
import { HoldfastError } from '#base';

export type RunMeta = {
  readonly pageCount: number;
  readonly lineCount: number;
  readonly recordCount: number;
  readonly idCount: number;
};

/** Fences and filter in memory that worker threads share; never written after the run is complete. */
export type SharedRun = {
  readonly fences: SharedArrayBuffer;
  readonly filter: SharedArrayBuffer;
};

export type Footer = RunMeta & { readonly fencesCrc: number; readonly filterCrc: number };

export const FOOTER_BYTES = 64;
const MAGIC = 0x5249_4648;
const VERSION = 1;

export function encodeFooter(footer: Footer): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUInt32LE(footer.pageCount, 8);
  bytes.writeUInt32LE(footer.lineCount, 12);
  bytes.writeDoubleLE(footer.recordCount, 16);
  bytes.writeDoubleLE(footer.idCount, 24);
  bytes.writeUInt32LE(footer.fencesCrc, 32);
  bytes.writeUInt32LE(footer.filterCrc, 36);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/** Undefined if the bytes are no footer of this version. */
export function decodeFooter(bytes: Buffer): Footer | undefined {
  const isFooter =
    bytes.length === FOOTER_BYTES &&
    bytes.readUInt32LE(60) === crc32(bytes.subarray(0, 60)) &&
    bytes.readUInt32LE(0) === MAGIC &&
    bytes.readUInt32LE(4) === VERSION;
  if (!isFooter) return undefined;
  return {
    pageCount: bytes.readUInt32LE(8),
    lineCount: bytes.readUInt32LE(12),
    recordCount: bytes.readDoubleLE(16),
    idCount: bytes.readDoubleLE(24),
    fencesCrc: bytes.readUInt32LE(32),
    filterCrc: bytes.readUInt32LE(36),
  };
}

/** @param reason `absent`: there is none yet; `damaged`: it must be rebuilt. */
export function indexDamaged(
  message: string,
  { reason, path, cause }: { reason: 'absent' | 'damaged'; path: string; cause?: unknown },
): HoldfastError {
  return new HoldfastError('IndexDamaged', message, { cause, details: { reason, path } });
}
