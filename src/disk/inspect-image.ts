/** What an image is, without opening its content: for those who plan to read it later. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { imageFormatOf, type ImageFormat } from './image-format.ts';
import { inspectChain, readImageInfo, type ChainRules, type QemuImageInfo } from './image-info.ts';
import { isOpenForWriting } from './image-lock.ts';

export type InspectedImage = {
  readonly path: string;
  readonly format: ImageFormat;
  readonly sizeBytes: number;
  /** A QEMU process may write to it: a running VM, most likely. */
  readonly isInUse: boolean;
  /** Every file that reading it touches; real paths but for the image's own. */
  readonly files: readonly string[];
  /** The image and its backing files, the top first. */
  readonly chain: readonly QemuImageInfo[];
};

/**
 * Looks at an image, in use or not. The format is the given one or the extension's, never probed.
 *
 * @throws {HoldfastError} `DiskNotFound`, `DiskFormatUnsupported` (also where it needs files that `rules` do
 *   not allow), `DiskUnavailable`, `ToolMissing`.
 */
export async function inspectImage(
  image: { readonly path: string; readonly format?: string | undefined },
  rules: ChainRules = {},
): Promise<InspectedImage> {
  const path = resolve(image.path);
  const stats = await stat(path, { bigint: true }).catch((cause: Error) => {
    throw new HoldfastError('DiskNotFound', `cannot find "${path}": ${cause.message}`, {
      cause,
      details: { path },
    });
  });
  const isBlockDevice = stats.isBlockDevice();
  const format = imageFormatOf({ path, format: image.format, isBlockDevice });
  const inspected = await inspectChain({ path, format }, rules);
  const isInUse =
    format === 'raw' ? await isOpenForWriting(stats) : await isLocked({ path, format });
  return { path, format, ...inspected, isInUse };
}

/** The image alone: what it is based on need not be there. */
export type TopImage = Pick<InspectedImage, 'path' | 'format' | 'sizeBytes' | 'isInUse'> & {
  readonly asQemuSays: QemuImageInfo;
};

/** @throws {HoldfastError} `DiskNotFound`, `DiskFormatUnsupported`, `DiskUnavailable`, `ToolMissing`. */
export async function inspectTop(image: {
  readonly path: string;
  readonly format: string;
}): Promise<TopImage> {
  const path = resolve(image.path);
  const format = imageFormatOf({ path, format: image.format, isBlockDevice: false });
  const { asQemuSays, sizeBytes } = await readImageInfo({ path, format }, true);
  return { path, format, sizeBytes, asQemuSays, isInUse: await isLocked({ path, format }) };
}

/** Raw images are shared by QEMU's readers with writers; all others refuse to be opened. */
async function isLocked(image: {
  readonly path: string;
  readonly format: ImageFormat;
}): Promise<boolean> {
  try {
    await readImageInfo(image, false);
    return false;
  } catch (error) {
    if (isHoldfastError(error, 'DiskInUse')) return true;
    throw error;
  }
}
