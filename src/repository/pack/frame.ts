/**
 * Compression of frames: zstd level 1, or raw where that does not shrink them.
 *
 * A frame is compressed in one call, so zstd's own header holds the length and a window no larger than
 * the frame; the decoder refuses a larger window, and so allocates no more than the frame whatever the
 * bytes say.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '#base';

type Codec = 0 | 1;

export type CompressedFrame = {
  /** 0: raw, 1: zstd. */
  readonly codec: Codec;
  readonly bytes: Buffer;
  readonly rawLength: number;
};

/** A frame that waits to be sealed, with the ids of its slots in order, 16 bytes each. */
export type PendingFrame = {
  readonly frame: CompressedFrame;
  readonly ids: Buffer;
};

const LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 };
const SMALLEST_CHUNK_BYTES = 1024;
const SMALLEST_WINDOW_LOG = 10; // zstd's own minimum
/** An output buffer that is never full saves a second one: 20 % of the time. */
const SPARE_BYTES = 64;

/**
 * Compresses one frame; `raw` is not kept unless the result is raw, which then holds `raw` itself.
 *
 * A `chunkSize` of the frame's size lets Node give zstd one output buffer: 560 MB/s a core instead of
 * 410 with a small one (256 KiB frames of program text).
 */
export function compressFrame(raw: Buffer): CompressedFrame {
  const rawLength = raw.length;
  const chunkSize = Math.max(rawLength, SMALLEST_CHUNK_BYTES);
  const bytes = zstdCompressSync(raw, { chunkSize, params: LEVEL });
  if (bytes.length >= rawLength) return { codec: 0, bytes: raw, rawLength };
  return { codec: 1, bytes, rawLength };
}

/**
 * @param frame.rawLength what the frame must decompress to; at most the limit of a frame.
 * @returns exactly `rawLength` bytes; a raw frame's are `bytes` itself.
 * @throws {HoldfastError} `ObjectDamaged` if the bytes are anything else.
 */
export function decompressFrame({ codec, bytes, rawLength }: CompressedFrame): Buffer {
  const raw = codec === 0 ? bytes : decompress(bytes, rawLength);
  if (raw.length === rawLength) return raw;
  throw new HoldfastError(
    'ObjectDamaged',
    `a frame of ${rawLength} bytes decompressed to ${raw.length}`,
  );
}

function decompress(bytes: Buffer, rawLength: number): Buffer {
  const windowLog = Math.max(SMALLEST_WINDOW_LOG, Math.ceil(Math.log2(rawLength)));
  try {
    return zstdDecompressSync(bytes, {
      chunkSize: Math.max(rawLength + SPARE_BYTES, SMALLEST_CHUNK_BYTES),
      maxOutputLength: rawLength,
      params: { [constants.ZSTD_d_windowLogMax]: windowLog },
    });
  } catch (cause) {
    throw new HoldfastError(
      'ObjectDamaged',
      `a frame does not decompress to its ${rawLength} bytes`,
      { cause },
    );
  }
}
