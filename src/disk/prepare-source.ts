/**
 * Prepares a disk for reading, once, in the main thread: settles its format, refuses images in use
 * and images that reach outside their folder, starts qemu-nbd for what is not raw.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { BigIntStats } from 'node:fs';
import { HoldfastError } from '#base';
import type { DiskSpec, OpenOptions } from './disk-source.ts';
import { normaliseExtents, type Extent } from './extent.ts';
import { refuseLookalike } from './lookalike.ts';
import { imageFormatOf } from './image-format.ts';
import { inspectChain, readImageInfo, type ChainRules } from './image-info.ts';
import { isOpenForWriting } from './image-lock.ts';
import { startImageServer } from './image-server.ts';
import { isNbdUri } from './nbd-address.ts';
import { connectNbd } from './nbd-disk.ts';
import { openSource } from './open-disk.ts';
import { diskInUse } from './tool.ts';

export type PrepareOptions = OpenOptions &
  ChainRules & {
    /** A path or an NBD address. */
    readonly location: string;
    /** QEMU's name of the format; needed where the file's extension does not say it. */
    readonly format?: string;
    /**
     * Where the disk is a snapshot that QEMU shows by `snapshot-access`: the NBD address of what it has saved of
     * the disk since. QEMU before 8.2 answers a request that begins in what is saved, and goes beyond it, from
     * the disk as it is now (`hbitmap_status`): so no read crosses a cluster of 64 KiB, in which all or nothing
     * is saved; and where the snapshot is said to be zero but something is saved, it is not believed.
     */
    readonly saved?: string;
  };

/** QEMU's cluster of what it saves before a write: at least this, and that of the scratch image, which is as large. */
const SAVED_CLUSTER_BYTES = 64 * 1024;

export interface PreparedDisk {
  /** For `openSource`, here or in worker threads, until `close`. */
  readonly spec: DiskSpec;
  readonly sizeBytes: number;
  readonly description: string;
  /** As `DiskSource.dataExtents`. */
  dataExtents(range?: Extent): Promise<Extent[]>;
  /**
   * A fingerprint of the files behind the disk (inode, size, modification time): if it differs
   * before and after reading, somebody wrote meanwhile. Constant for NBD addresses; for a block
   * device only its identity counts.
   */
  stamp(): Promise<string>;
  /** Ends what was started for the disk. Close the sources first. Idempotent. */
  close(): Promise<void>;
}

/**
 * @throws {HoldfastError} `DiskNotFound`, `DiskInUse`, `DiskFormatUnsupported`, `DiskUnavailable`,
 *   `ToolMissing`, `ArgumentInvalid`, `Cancelled`.
 */
export async function prepareSource(options: PrepareOptions): Promise<PreparedDisk> {
  if (isNbdUri(options.location)) return await prepareRemote(options);
  const path = resolve(options.location);
  const stats = await diskStat(path);
  const isBlockDevice = stats.isBlockDevice();
  const format = imageFormatOf({ path, format: options.format, isBlockDevice });
  if (format !== 'raw') return await prepareImage({ path, format }, options);

  if (await isOpenForWriting(stats)) throw diskInUse(path);
  if (options.format === undefined && !isBlockDevice) await refuseLookalike(path);
  const sizeBytes = isBlockDevice
    ? (await readImageInfo({ path, format }, true)).sizeBytes
    : Number(stats.size);
  return prepared({ kind: 'raw', path, sizeBytes }, { options, files: [path] });
}

async function prepareRemote(options: PrepareOptions): Promise<PreparedDisk> {
  const client = await connectNbd(options.location, options);
  const { sizeBytes } = client;
  await client.close();
  const { location: uri, saved } = options;
  const spec: DiskSpec = { kind: 'nbd', uri, sizeBytes };
  if (saved === undefined) return prepared(spec, { options, files: [] });
  const disk = prepared({ ...spec, pieceBytes: SAVED_CLUSTER_BYTES }, { options, files: [] });
  const keeper = prepared({ ...spec, uri: saved }, { options, files: [] });
  return {
    ...disk,
    dataExtents: async (range) => {
      const said = await disk.dataExtents(range);
      // After it: what was zeroed before the answer was saved before it.
      return normaliseExtents([...said, ...(await keeper.dataExtents(range))]);
    },
  };
}

async function prepareImage(
  image: Parameters<typeof inspectChain>[0],
  options: PrepareOptions,
): Promise<PreparedDisk> {
  const { sizeBytes, files } = await inspectChain(image, options);
  const server = await startImageServer({ image, writable: false, clock: options.clock });
  const spec: DiskSpec = { kind: 'nbd', uri: server.uri, sizeBytes, image: image.path };
  const disk = prepared(spec, { options, files });
  return { ...disk, description: image.path, close: async () => await server.close() };
}

function prepared(
  spec: DiskSpec,
  context: { readonly options: PrepareOptions; readonly files: readonly string[] },
): PreparedDisk {
  return {
    spec,
    sizeBytes: spec.sizeBytes,
    description: spec.kind === 'raw' ? spec.path : spec.uri,
    dataExtents: async (range) => {
      const source = await openSource(spec, context.options);
      try {
        return await source.dataExtents(range);
      } finally {
        await source.close();
      }
    },
    stamp: async () => (await Promise.all(context.files.map(stampOf))).join(' '),
    close: async () => {},
  };
}

async function stampOf(path: string): Promise<string> {
  if (/^[^/]+:/.test(path)) return path;
  const stats = await diskStat(path);
  if (stats.isBlockDevice()) return `device:${stats.rdev}`;
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}`;
}

/**
 * The state of a file that can be a disk.
 *
 * @throws {HoldfastError} `DiskNotFound`; `DiskFormatUnsupported` for folders, pipes and the like.
 */
async function diskStat(path: string): Promise<BigIntStats> {
  let stats: BigIntStats;
  try {
    stats = await stat(path, { bigint: true });
  } catch (cause) {
    throw new HoldfastError('DiskNotFound', `cannot find "${path}": ${(cause as Error).message}`, {
      cause,
      details: { path },
    });
  }
  if (stats.isFile() || stats.isBlockDevice()) return stats;
  throw new HoldfastError(
    'DiskFormatUnsupported',
    `"${path}" is neither a file nor a block device`,
  );
}
