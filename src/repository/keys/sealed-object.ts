/**
 * Sealed objects (docs/format.md §3): log entries, checkpoints, manifests and documents.
 *
 *     0 'HFSO'  4 version  5 kind  6 codec  7 zero  8 key generation  12 raw length  16 nonce
 *     28 ciphertext … tag (16)      all integers little-endian
 *
 * Keeps invariant 7 (all is authenticated, and no length is believed before) and, by random nonces,
 * invariant 8. The object's name is authenticated too, so objects cannot change places.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { HoldfastError } from '#base';

import type { Keyring } from './keyring.ts';
import type { RandomBytes } from './random-bytes.ts';

export type SealedKind = 'log' | 'checkpoint' | 'manifest' | 'document';

export type SealedName = {
  readonly keyring: Keyring;
  readonly kind: SealedKind;
  /** The object's name in the store. */
  readonly name: string;
};

const MAGIC = 'HFSO';
const VERSION = 1;
const HEADER_BYTES = 28;
const NONCE_OFFSET = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CODEC_RAW = 0;
const CODEC_ZSTD = 1;
const COMPRESS_ABOVE_BYTES = 512;
const ZSTD_LEVEL = 3;
const MIN_CHUNK_BYTES = 64;
const MAX_CHUNK_BYTES = 1024 * 1024;

const KINDS = { log: 1, checkpoint: 2, manifest: 3, document: 4 } as const;
const MAX_RAW_BYTES = {
  log: 16 * 1024 * 1024,
  checkpoint: 256 * 1024 * 1024,
  manifest: 256 * 1024 * 1024,
  document: 256 * 1024 * 1024,
} as const;

/** No object of this kind is larger: the bound for reading one. */
export function maxSealedBytes(kind: SealedKind): number {
  return HEADER_BYTES + MAX_RAW_BYTES[kind] + TAG_BYTES;
}

/**
 * Seals `value` as JSON under a new nonce: two calls never give the same bytes.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if the JSON is larger than the kind allows.
 */
export function sealJson(
  options: SealedName & { readonly value: unknown; readonly random: RandomBytes },
): Buffer {
  const { keyring, kind, name, value, random } = options;
  const raw = Buffer.from(JSON.stringify(value), 'utf8');
  if (raw.length > MAX_RAW_BYTES[kind]) {
    throw new HoldfastError('ArgumentInvalid', `${name} would be too large`, {
      details: { object: name, sizeBytes: raw.length, limitBytes: MAX_RAW_BYTES[kind] },
    });
  }
  const { codec, body } = encodeBody(raw);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header[4] = VERSION;
  header[5] = KINDS[kind];
  header[6] = codec;
  header.writeUInt32LE(keyring.generation, 8);
  header.writeUInt32LE(raw.length, 12);
  random(NONCE_BYTES).copy(header, NONCE_OFFSET);
  const key = keyring.sealingKey(kind, keyring.generation);
  const cipher = createCipheriv('aes-256-gcm', key, header.subarray(NONCE_OFFSET), {
    authTagLength: TAG_BYTES,
  });
  cipher.setAAD(associatedData(header, { keyring, name }));
  const ciphertext = cipher.update(body);
  cipher.final();
  return Buffer.concat([header, ciphertext, cipher.getAuthTag()]);
}

/**
 * Opens what `sealJson` made for the same kind and name.
 *
 * @returns the JSON value: authentic, but of whatever shape its writer gave it.
 * @throws {HoldfastError} `ObjectDamaged` naming the object and what is wrong; `FormatUnsupported` if
 *   a newer Holdfast wrote it.
 */
export function openJson(options: SealedName & { readonly bytes: Buffer }): unknown {
  const { keyring, kind, name, bytes } = options;
  const header = readHeader(options);
  const key = keyring.sealingKey(kind, header.generation);
  const decipher = createDecipheriv(
    'aes-256-gcm',
    key,
    bytes.subarray(NONCE_OFFSET, HEADER_BYTES),
    {
      authTagLength: TAG_BYTES,
    },
  );
  decipher.setAAD(associatedData(bytes.subarray(0, HEADER_BYTES), { keyring, name }));
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const body = decipher.update(bytes.subarray(HEADER_BYTES, bytes.length - TAG_BYTES));
  try {
    decipher.final();
  } catch (error) {
    throw damaged(name, 'it is not authentic (changed, swapped, or of another repository)', error);
  }
  const raw = decodeBody(body, { name, ...header });
  try {
    return JSON.parse(raw.toString('utf8'));
  } catch (error) {
    throw damaged(name, 'it does not hold JSON', error);
  }
}

type Header = { readonly codec: number; readonly generation: number; readonly rawBytes: number };

/** Everything that can be known before decrypting; nothing larger than the limits passes. */
function readHeader(options: SealedName & { readonly bytes: Buffer }): Header {
  const { keyring, kind, name, bytes } = options;
  if (bytes.length < HEADER_BYTES + TAG_BYTES) throw damaged(name, 'it is too short');
  if (bytes.toString('latin1', 0, 4) !== MAGIC) throw damaged(name, `it does not begin ${MAGIC}`);
  const version = bytes.readUInt8(4);
  if (version > VERSION) {
    throw new HoldfastError(
      'FormatUnsupported',
      `${name} has format ${version}, this Holdfast reads up to ${VERSION}`,
      { details: { object: name, format: version } },
    );
  }
  if (version !== VERSION || bytes.readUInt8(7) !== 0) throw damaged(name, 'its header is wrong');
  if (bytes.readUInt8(5) !== KINDS[kind]) throw damaged(name, `it is not a ${kind} object`);
  const header = {
    codec: bytes.readUInt8(6),
    generation: bytes.readUInt32LE(8),
    rawBytes: bytes.readUInt32LE(12),
  };
  checkLengths(header, { kind, name, bodyBytes: bytes.length - HEADER_BYTES - TAG_BYTES });
  if (!keyring.hasGeneration(header.generation)) {
    throw damaged(name, `there is no key of its generation ${header.generation}`);
  }
  return header;
}

function checkLengths(
  header: Header,
  object: { readonly kind: SealedKind; readonly name: string; readonly bodyBytes: number },
): void {
  const { codec, rawBytes } = header;
  if (codec !== CODEC_RAW && codec !== CODEC_ZSTD)
    throw damaged(object.name, 'its codec is unknown');
  if (rawBytes > MAX_RAW_BYTES[object.kind]) throw damaged(object.name, 'its length is impossible');
  const fits = codec === CODEC_RAW ? object.bodyBytes === rawBytes : object.bodyBytes < rawBytes;
  if (!fits) throw damaged(object.name, 'its lengths contradict each other');
}

function associatedData(
  header: Buffer,
  object: { readonly keyring: Keyring; readonly name: string },
): Buffer {
  return Buffer.concat([header, object.keyring.repositoryId, Buffer.from(object.name, 'utf8')]);
}

function encodeBody(raw: Buffer): { readonly codec: number; readonly body: Buffer } {
  if (raw.length <= COMPRESS_ABOVE_BYTES) return { codec: CODEC_RAW, body: raw };
  const body = zstdCompressSync(raw, {
    chunkSize: chunkBytes(raw.length),
    params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
  });
  return body.length < raw.length ? { codec: CODEC_ZSTD, body } : { codec: CODEC_RAW, body: raw };
}

function decodeBody(body: Buffer, object: Header & { readonly name: string }): Buffer {
  if (object.codec === CODEC_RAW) return body;
  let raw: Buffer;
  try {
    raw = zstdDecompressSync(body, {
      chunkSize: chunkBytes(object.rawBytes),
      maxOutputLength: object.rawBytes,
    });
  } catch (error) {
    throw damaged(object.name, 'it does not decompress', error);
  }
  if (raw.length !== object.rawBytes) throw damaged(object.name, 'its raw length is wrong');
  return raw;
}

function chunkBytes(rawBytes: number): number {
  return Math.min(Math.max(rawBytes, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES);
}

function damaged(name: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('ObjectDamaged', `${name} is damaged: ${reason}`, {
    cause,
    details: { object: name },
  });
}
