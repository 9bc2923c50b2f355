/** What qemu-img tells of a disk's image, running or not: its fingerprint, and the bitmaps stored in it. */
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import { imageFingerprint, type QemuImageInfo } from '../image-fingerprint.ts';
import { imageIdentity } from '../image-identity.ts';

export type ImageFacts = {
  readonly fingerprint: string;
  /** Of the image and its backing files, as QEMU names them. */
  readonly files: readonly string[];
  /** Names of the bitmaps in the image; of a running VM's those that were there when it started. */
  readonly bitmaps: readonly string[];
  /** What the image is based on, the nearest first. */
  readonly backings: readonly ChainInfo[];
  /** Why no bitmap can be kept in the image; undefined: one can. */
  readonly untracked: string | undefined;
};

type ChainInfo = Omit<QemuImageInfo, 'backing-image'> & {
  readonly filename: string;
  readonly 'format-specific'?: {
    readonly data?: {
      readonly compat?: string;
      readonly bitmaps?: readonly { readonly name: string }[];
    };
  };
};

/**
 * @param image a path or what QEMU takes for one; the format is never probed.
 * @throws {HoldfastError} `HypervisorFailed` if qemu-img cannot read it; `ToolMissing`, `Cancelled`.
 */
export async function readImageFacts(
  image: { readonly location: string; readonly format: string; readonly sizeBytes: number },
  signal?: AbortSignal,
): Promise<ImageFacts> {
  if (image.format === 'raw') {
    const info = { format: 'raw', 'virtual-size': image.sizeBytes };
    const fingerprint = imageFingerprint(info, await imageIdentity(image.location));
    return {
      fingerprint,
      files: [image.location],
      bitmaps: [],
      backings: [],
      untracked: noBitmaps('raw'),
    };
  }
  const result = await runTool({
    command: 'qemu-img',
    // A running VM holds the image's lock; nothing that is read here changes under it.
    args: ['info', '-U', '--backing-chain', '--output=json', '-f', image.format, image.location],
    signal,
  });
  if ('complaint' in result) {
    throw new HoldfastError(
      'HypervisorFailed',
      `cannot read what the image "${image.location}" is: ${result.complaint}`,
      { details: { location: image.location } },
    );
  }
  const chain = JSON.parse(result.output) as readonly ChainInfo[];
  const nested = chain.reduceRight<QemuImageInfo | undefined>(
    (backing, info) => (backing === undefined ? info : { ...info, 'backing-image': backing }),
    undefined,
  );
  const specific = chain[0]!['format-specific']?.data;
  return {
    fingerprint: imageFingerprint(nested!, await imageIdentity(image.location)),
    files: chain.map(({ filename }) => filename),
    bitmaps: (specific?.bitmaps ?? []).map(({ name }) => name),
    backings: chain.slice(1),
    untracked:
      image.format !== 'qcow2'
        ? noBitmaps(image.format)
        : specific?.compat === '0.10'
          ? 'the image is qcow2 of version 2, which keeps no bitmaps: qemu-img amend -o compat=1.1 makes it version 3'
          : undefined,
  };
}

function noBitmaps(format: string): string {
  return `${format} images keep no bitmaps, qcow2 images do`;
}
