/**
 * The index's manifest: the one file that is replaced, and so the moment at which a flush or a merge
 * happens. Written beside itself, synced, renamed, and the directory synced.
 *
 *     `HFIM` | version u32 | JSON | CRC-32 of all before
 */
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { indexDamaged, type RunMeta } from './run-format.ts';
import { indexWriteFailed } from './write-failed.ts';

/** Up to where the log is in the index: all entries up to `number`, and `cursor` deltas of the next. */
export type IndexPosition = {
  /** −1: before entry 0. */
  readonly number: number;
  /** Hex hash of entry `number`. */
  readonly hash: string;
  readonly cursor: number;
};

export type Manifest = {
  readonly runs: readonly (RunMeta & { readonly name: string })[];
  readonly nextRun: number;
  /** One above every pack number in the runs. */
  readonly packLimit: number;
  readonly position: IndexPosition;
  /** What the caller keeps with the index, written in the same instant as the records it belongs to; JSON. */
  readonly callerState: unknown;
};

export const EMPTY_MANIFEST: Manifest = {
  runs: [],
  nextRun: 1,
  packLimit: 0,
  position: { number: -1, hash: '', cursor: 0 },
  callerState: {},
};

export const MANIFEST_NAME = 'manifest';
const MAGIC = 0x4d49_4648;
const VERSION = 1;
const HEADER_BYTES = 8;

/** Durable on return. @throws {HoldfastError} `StoreFull`, `StoreFailed` */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  const path = join(dir, MANIFEST_NAME);
  try {
    const file = await open(`${path}.new`, 'w');
    try {
      await file.writeFile(encode(manifest));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    await syncDirectory(dir);
  } catch (cause) {
    indexWriteFailed(cause);
  }
}

/** @throws {HoldfastError} `IndexDamaged`; its detail `reason` is `absent` if there is no manifest. */
export async function readManifest(dir: string): Promise<Manifest> {
  const path = join(dir, MANIFEST_NAME);
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const reason = isAbsent ? 'absent' : 'damaged';
    throw indexDamaged(`no index manifest can be read at ${path}`, { reason, path, cause });
  }
  const manifest = decode(bytes);
  if (manifest === undefined) {
    throw indexDamaged(`the index manifest ${path} is damaged`, { reason: 'damaged', path });
  }
  return manifest;
}

export async function syncDirectory(dir: string): Promise<void> {
  const directory = await open(dir, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function encode(manifest: Manifest): Buffer {
  const json = Buffer.from(JSON.stringify(manifest));
  const bytes = Buffer.alloc(HEADER_BYTES + json.length + 4);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  json.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

function decode(bytes: Buffer): Manifest | undefined {
  if (bytes.length < HEADER_BYTES + 4) return undefined;
  const end = bytes.length - 4;
  if (bytes.readUInt32LE(end) !== crc32(bytes.subarray(0, end))) return undefined;
  if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION) return undefined;
  return JSON.parse(bytes.toString('utf8', HEADER_BYTES, end)) as Manifest;
}
