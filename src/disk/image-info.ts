/**
 * What an image says about itself, and whether it may be opened: backing, data and extent files are
 * refused unless they lie in the image's own folder or are named by the user. Asked one image at a
 * time, each with its explicit format, so that nothing refused is ever opened.
 */
import { access, constants, realpath, stat } from 'node:fs/promises';
import { dirname, sep } from 'node:path';
import { HoldfastError } from '#base';
import { imageFormatOf, type ImageFormat } from './image-format.ts';
import { imageError, runTool } from './tool.ts';

export type ImageRef = { readonly path: string; readonly format: ImageFormat };

export type ImageInfo = {
  readonly sizeBytes: number;
  readonly backing?: { readonly path: string; readonly format: string | undefined };
  /** Data file of a qcow2 image, extents of a vmdk. */
  readonly otherFiles: readonly string[];
  readonly asQemuSays: QemuImageInfo;
};

/** The part of `qemu-img info --output=json` that we read. */
export type QemuImageInfo = {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'full-backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
  }[];
  readonly 'format-specific'?: {
    readonly data?: {
      readonly compat?: string;
      readonly 'data-file'?: string;
      readonly extents?: readonly { readonly filename: string }[];
      readonly bitmaps?: readonly QemuBitmap[];
    };
  };
};

/** A persistent dirty bitmap of a qcow2 image. */
export type QemuBitmap = {
  readonly name: string;
  /** `auto`: it records; `in-use`: it was not saved, because QEMU was killed or runs. */
  readonly flags: readonly string[];
  /** Bytes of the disk that one bit stands for. */
  readonly granularity: number;
};

const MAX_CHAIN = 64;
/** QEMU's sectors: a raw image is as many as hold it. */
const SECTOR_BYTES = 512;

/**
 * Asks qemu-img, but for what a raw file says by its size alone. With `whileInUse` a lock of another process is ignored (metadata only: sizes and
 * names do not change under a running VM in a way that matters here).
 *
 * @throws {HoldfastError} `DiskInUse`, `DiskFormatUnsupported`, `DiskUnavailable`, `ToolMissing`.
 */
export async function readImageInfo(image: ImageRef, whileInUse: boolean): Promise<ImageInfo> {
  const raw = whileInUse && image.format === 'raw' ? await rawFileInfo(image.path) : undefined;
  if (raw !== undefined) return raw;
  const result = await runTool({
    command: 'qemu-img',
    args: ['info', ...(whileInUse ? ['-U'] : []), '--output=json', '-f', image.format, image.path],
  });
  if ('complaint' in result) throw imageError('open', image, result.complaint);
  return infoOf(JSON.parse(result.output) as QemuImageInfo);
}

function infoOf(info: QemuImageInfo): ImageInfo {
  const backingPath = info['full-backing-filename'] ?? info['backing-filename'];
  const specific = info['format-specific']?.data;
  const otherFiles = (specific?.extents ?? []).map(({ filename }) => filename);
  if (specific?.['data-file'] !== undefined) otherFiles.push(specific['data-file']);
  return {
    sizeBytes: info['virtual-size'],
    ...(backingPath === undefined
      ? {}
      : { backing: { path: backingPath, format: info['backing-filename-format'] } }),
    otherFiles,
    asQemuSays: info,
  };
}

/** Of a file that we may read, without a process; undefined: qemu-img knows what is the matter. */
async function rawFileInfo(path: string): Promise<ImageInfo | undefined> {
  try {
    await access(path, constants.R_OK);
    const stats = await stat(path);
    if (!stats.isFile()) return undefined;
    const sizeBytes = Math.ceil(stats.size / SECTOR_BYTES) * SECTOR_BYTES;
    return { sizeBytes, otherFiles: [], asQemuSays: { format: 'raw', 'virtual-size': sizeBytes } };
  } catch {
    // It says so itself, in the words of its other complaints.
    return undefined;
  }
}

export type ChainRules = {
  /** Files outside the image's folder that may be read all the same. */
  readonly allowedFiles?: readonly string[];
  /** Allows every file: for images that the operator trusts. */
  readonly allowOutside?: boolean;
};

/**
 * Follows the backing chain.
 *
 * @returns the image's size, every file that reading it touches, and what QEMU says of each image of the
 *   chain, the top first.
 * @throws {HoldfastError} `DiskFormatUnsupported` if a file is not allowed or a backing file's format
 *   is not named in the image; `DiskNotFound` if one is missing.
 */
export async function inspectChain(
  image: ImageRef,
  rules: ChainRules,
): Promise<{
  readonly sizeBytes: number;
  readonly files: readonly string[];
  readonly chain: readonly QemuImageInfo[];
}> {
  const folder = dirname(await realpath(image.path));
  const allowed = new Set(
    await Promise.all((rules.allowedFiles ?? []).map((path) => resolved(path))),
  );
  const mayRead = async (path: string, owner: string): Promise<string> => {
    const real = await resolved(path, owner);
    if (rules.allowOutside === true || allowed.has(real) || real.startsWith(folder + sep)) {
      return real;
    }
    throw new HoldfastError(
      'DiskFormatUnsupported',
      `"${owner}" needs "${path}", which is outside its folder: allow that file by name if you trust the image`,
      { details: { path: owner, needs: path } },
    );
  };

  const files = new Set([image.path]);
  const chain: QemuImageInfo[] = [];
  let next: ImageRef | undefined = image;
  while (next !== undefined) {
    const owner: string = next.path;
    const info: ImageInfo = await readImageInfo(next, true);
    chain.push(info.asQemuSays);
    for (const path of info.otherFiles) files.add(await mayRead(path, owner));
    next = undefined;
    if (info.backing !== undefined) {
      const path = await mayRead(info.backing.path, owner);
      if (files.has(path) || files.size > MAX_CHAIN) {
        throw new HoldfastError(
          'DiskFormatUnsupported',
          `the backing chain of "${owner}" is endless`,
        );
      }
      files.add(path);
      next = { path, format: backingFormat(info.backing, owner) };
    }
  }
  return { sizeBytes: chain[0]!['virtual-size'], files: Array.from(files), chain };
}

function backingFormat(
  backing: { readonly path: string; readonly format: string | undefined },
  owner: string,
): ImageFormat {
  if (backing.format !== undefined) return imageFormatOf({ ...backing, isBlockDevice: false });
  throw new HoldfastError(
    'DiskFormatUnsupported',
    `"${owner}" does not say which format its backing file "${backing.path}" has: ` +
      'write it down once with qemu-img rebase -u -b BACKING -F FORMAT IMAGE',
    { details: { path: owner, needs: backing.path } },
  );
}

/** The real path; addresses such as `nbd://…` and `json:{…}` stay as they are. */
async function resolved(path: string, owner?: string): Promise<string> {
  if (/^[^/]+:/.test(path)) return path;
  try {
    return await realpath(path);
  } catch (cause) {
    const message =
      owner === undefined
        ? `"${path}" does not exist`
        : `"${owner}" needs "${path}", which does not exist: put it back`;
    throw new HoldfastError('DiskNotFound', message, {
      cause,
      details: { path },
    });
  }
}
