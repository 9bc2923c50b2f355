/**
 * Prepares a disk for writing, once, in the main thread.
 *
 *     new file    NAME.partial/NAME ──finish──► fsync, NAME (never over another file), folder fsync
 *                        └────────────discard─► removed: no half image that looks whole
 *     existing    written in place where it differs; needs `overwrite`; discard leaves it half written
 *
 * The partial image has its final name already, since some formats (vmdk) write it down inside.
 * New raw and qcow2 images are written directly, what has another format or existed through qemu-nbd.
 * An existing image stays locked against VMs by a qemu-nbd process, a device by O_EXCL.
 */
import { constants } from 'node:fs';
import { chmod, link, mkdir, open, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { HoldfastError } from '#base';
import type { OpenOptions, TargetSpec } from './disk-source.ts';
import type { Extent } from './extent.ts';
import { imageFormatOf, type ImageFormat } from './image-format.ts';
import { inspectChain, readImageInfo, type ChainRules } from './image-info.ts';
import { startImageServer } from './image-server.ts';
import { isOpenForWriting } from './image-lock.ts';
import { NewQcow2Image } from './new-qcow2-image.ts';
import { diskInUse, runTool } from './tool.ts';

export type TargetOptions = OpenOptions &
  ChainRules & {
    readonly path: string;
    readonly format?: string;
    readonly sizeBytes: number;
    /** Writes over what exists; without it existing files and devices are refused. */
    readonly overwrite: boolean;
  };

export interface PreparedTarget {
  /** For `openTarget`, here or in worker threads, until `finish` or `discard`. */
  readonly spec: TargetSpec;
  readonly sizeBytes: number;
  /**
   * Says where data will be written, in ascending order: a new target takes none elsewhere.
   *
   * @throws {HoldfastError} `DiskWriteFailed`.
   */
  reserve(data: Extent): void;
  /** That all is said: call before the first write. Throws as `reserve`. */
  reserved(): void;
  /** Call after every opened target was closed. On return the image is complete, named and durable. */
  finish(): Promise<void>;
  /** Gives up: removes a new image. Does nothing after `finish`. */
  discard(): Promise<void>;
}

type Output = { readonly path: string; readonly format: ImageFormat };

const SECTOR_BYTES = 512;
const OUTPUT_MODE = 0o600;

/**
 * @throws {HoldfastError} `OutputExists` (also for a `.partial` left by an interrupted restore),
 *   `DiskFormatUnsupported`, `DiskInUse`, `ArgumentInvalid` if an existing image or device has another
 *   size, `DiskWriteFailed`, `ToolMissing`.
 */
export async function createTarget(options: TargetOptions): Promise<PreparedTarget> {
  const path = resolve(options.path);
  const stats = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const isBlockDevice = stats?.isBlockDevice() === true;
  const format = imageFormatOf({ path, format: options.format, isBlockDevice });
  if (stats === undefined) return await newTarget({ path, format }, options);
  if (!options.overwrite) {
    throw new HoldfastError('OutputExists', `"${path}" exists already`, { details: { path } });
  }
  if (!isBlockDevice && !stats.isFile()) {
    throw new HoldfastError('OutputExists', `"${path}" is neither a file nor a block device`);
  }
  if (isBlockDevice) return await deviceTarget({ path, format }, options);
  return await existingTarget({ path, format }, options);
}

async function newTarget(output: Output, options: TargetOptions): Promise<PreparedTarget> {
  const partial = `${output.path}.partial`;
  const path = join(partial, basename(output.path));
  await makePartialFolder(partial, options.overwrite);
  let qcow2: NewQcow2Image | undefined;
  const remove = async (): Promise<void> => {
    await qcow2?.close();
    await rm(partial, { recursive: true, force: true });
  };
  try {
    const image = { path, format: output.format };
    qcow2 = await createImage(image, options.sizeBytes);
    return await opened(image, {
      options,
      fresh: true,
      qcow2,
      whole: async () => {
        await (qcow2 === undefined ? syncPath(path) : qcow2.finish());
        await chmod(path, OUTPUT_MODE);
        await publish(path, output.path);
        await remove();
        await syncPath(dirname(output.path));
      },
      given: remove,
    });
  } catch (error) {
    await remove();
    throw error;
  }
}

async function existingTarget(output: Output, options: TargetOptions): Promise<PreparedTarget> {
  const stats = await stat(output.path, { bigint: true });
  if (await isOpenForWriting(stats)) throw diskInUse(output.path);
  const isRaw = output.format === 'raw';
  checkSize(output.path, {
    hasBytes: isRaw ? Number(stats.size) : (await inspectChain(output, options)).sizeBytes,
    options,
    most: options.sizeBytes + (isRaw ? 1 : SECTOR_BYTES),
  });
  return await opened(output, {
    options,
    fresh: false,
    whole: async () => await syncPath(output.path),
    given: async () => {},
  });
}

async function deviceTarget(output: Output, options: TargetOptions): Promise<PreparedTarget> {
  if (output.format !== 'raw') {
    throw new HoldfastError(
      'DiskFormatUnsupported',
      `"${output.path}" is a device: it takes raw only`,
    );
  }
  const claim = await claimDevice(output.path);
  try {
    const { sizeBytes } = await readImageInfo(output, false);
    checkSize(output.path, { hasBytes: sizeBytes, options, most: Infinity });
    return await opened(output, {
      options,
      fresh: false,
      whole: async () => {
        await claim.sync();
        await claim.close();
      },
      given: async () => await claim.close(),
    });
  } catch (error) {
    await claim.close();
    throw error;
  }
}

/** Locks and shows an image through qemu-nbd where that is needed; raw ones are written directly all the same. */
async function opened(
  image: Output,
  plan: {
    readonly options: TargetOptions;
    readonly fresh: boolean;
    readonly qcow2?: NewQcow2Image | undefined;
    readonly whole: () => Promise<void>;
    readonly given: () => Promise<void>;
  },
): Promise<PreparedTarget> {
  const { options, fresh, qcow2 } = plan;
  const { sizeBytes, clock } = options;
  const needsServer = qcow2 === undefined && (image.format !== 'raw' || !fresh);
  const server = needsServer ? await startImageServer({ image, writable: true, clock }) : undefined;
  const { path } = image;
  let spec: TargetSpec = { kind: 'raw', path, sizeBytes, fresh };
  if (qcow2 !== undefined) spec = { kind: 'newQcow2', path, sizeBytes, fresh: true };
  else if (image.format !== 'raw' && server !== undefined) {
    spec = { kind: 'nbd', uri: server.uri, sizeBytes, fresh, image: path };
  }
  let ended = false;
  const end = async (then: () => Promise<void>): Promise<void> => {
    if (ended) return;
    ended = true;
    await server?.close();
    await then();
  };
  return {
    spec,
    sizeBytes,
    reserve: (data) => qcow2?.reserve(data),
    reserved: () => qcow2?.reserved(),
    finish: async () => {
      try {
        await end(plan.whole);
      } catch (error) {
        await plan.given();
        throw error;
      }
    },
    discard: async () => await end(plan.given),
  };
}

async function makePartialFolder(partial: string, overwrite: boolean): Promise<void> {
  if (overwrite) await rm(partial, { recursive: true, force: true });
  try {
    await mkdir(partial, { mode: 0o700 });
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new HoldfastError(
      exists ? 'OutputExists' : 'DiskWriteFailed',
      exists
        ? `"${partial}" is there: another restore writes it, or an interrupted one left it; remove it or overwrite`
        : `cannot create "${partial}": ${(cause as Error).message}`,
      { cause, details: { path: partial } },
    );
  }
}

/** @returns the image if we write it ourselves: the caller closes it. */
async function createImage(image: Output, sizeBytes: number): Promise<NewQcow2Image | undefined> {
  if (image.format === 'qcow2') {
    return await NewQcow2Image.create(image.path, { sizeBytes, mode: OUTPUT_MODE });
  }
  if (image.format === 'raw') {
    const handle = await open(image.path, 'wx', OUTPUT_MODE);
    try {
      await handle.truncate(sizeBytes);
    } finally {
      await handle.close();
    }
    return undefined;
  }
  // Without force_size a vhd's size is rounded up to whole cylinders.
  const extra = image.format === 'vpc' ? ['-o', 'force_size=on'] : [];
  const result = await runTool({
    command: 'qemu-img',
    args: ['create', '-q', '-f', image.format, ...extra, image.path, String(sizeBytes)],
  });
  if ('complaint' in result) {
    throw new HoldfastError(
      'DiskWriteFailed',
      `cannot create "${image.path}": check space and permissions of its folder (${result.complaint})`,
    );
  }
  return undefined;
}

/** Gives a complete image its name; never replaces a file that appeared meanwhile. */
async function publish(partialPath: string, path: string): Promise<void> {
  try {
    await link(partialPath, path);
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new HoldfastError(
      exists ? 'OutputExists' : 'DiskWriteFailed',
      exists
        ? `"${path}" was created meanwhile`
        : `cannot name "${path}": ${(cause as Error).message}`,
      { cause, details: { path } },
    );
  }
}

/** Opens a device so that the kernel refuses it while it is mounted or claimed otherwise. */
async function claimDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_EXCL);
  } catch (cause) {
    const busy = (cause as NodeJS.ErrnoException).code === 'EBUSY';
    throw new HoldfastError(
      busy ? 'DiskInUse' : 'DiskUnavailable',
      busy
        ? `"${path}" is mounted or in use`
        : `cannot open "${path}": ${(cause as Error).message}`,
      { cause, details: { path } },
    );
  }
}

function checkSize(
  path: string,
  size: { readonly hasBytes: number; readonly options: TargetOptions; readonly most: number },
): void {
  const neededBytes = size.options.sizeBytes;
  if (size.hasBytes >= neededBytes && size.hasBytes < size.most) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    `"${path}" has ${size.hasBytes} bytes, the disk ${neededBytes}: choose another output`,
    { details: { path, sizeBytes: size.hasBytes, neededBytes } },
  );
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
