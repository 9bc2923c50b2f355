/**
 * Which format an image has. Never probed: a guest that owns a raw disk could write a qcow2 header
 * into it that names any file of the host as its backing file.
 */
import { extname } from 'node:path';
import { HoldfastError } from '#base';

/** QEMU's names. */
const IMAGE_FORMATS = ['raw', 'qcow2', 'qcow', 'vmdk', 'vhdx', 'vpc', 'vdi'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** What an error says in its detail `formats`: whoever shows it knows how one is named. */
export const FORMATS_TO_NAME = 'raw, qcow2, vmdk, vhdx, vpc or vdi';

const BY_EXTENSION: Readonly<Record<string, ImageFormat>> = {
  '.raw': 'raw',
  '.img': 'raw',
  '.qcow2': 'qcow2',
  '.qcow': 'qcow',
  '.vmdk': 'vmdk',
  '.vhdx': 'vhdx',
  '.vhd': 'vpc',
  '.vdi': 'vdi',
};

/**
 * The explicit format if there is one, `raw` for block devices, else by the file's extension.
 *
 * @throws {HoldfastError} `DiskFormatUnsupported` if neither decides.
 */
export function imageFormatOf(image: {
  readonly path: string;
  readonly format?: string | undefined;
  readonly isBlockDevice: boolean;
}): ImageFormat {
  const { path, format } = image;
  if (format !== undefined) {
    const known = IMAGE_FORMATS.find((name) => name === (format === 'vhd' ? 'vpc' : format));
    if (known !== undefined) return known;
    throw unsupported(
      `the format "${format}" of "${path}" is not one of ${IMAGE_FORMATS.join(', ')}`,
    );
  }
  if (image.isBlockDevice) return 'raw';
  const byExtension = BY_EXTENSION[extname(path).toLowerCase()];
  if (byExtension !== undefined) return byExtension;
  throw unsupported(
    `the format of "${path}" is not clear from its name, and formats are not guessed from content: name it`,
    { path, formats: FORMATS_TO_NAME },
  );
}

function unsupported(message: string, details = {}): HoldfastError {
  return new HoldfastError('DiskFormatUnsupported', message, { details });
}
