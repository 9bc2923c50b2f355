/**
 * What an image is, so far as a bitmap in it depends on it: `PreparedDisk.fingerprint` (hypervisor.ts). Equal for
 * a running and a stopped VM, and whoever reads it; changes with the format, the size, the backing chain and
 * the list of internal snapshots, which QEMU does not revert to while the image has bitmaps.
 *
 * Not in it: path, inode and device of the image itself. A bitmap lies in its image and describes that image's
 * content, so it stays right when both are moved or copied, and is absent in another image.
 */
import { HoldfastError } from '#base';
import { runTool } from '#disk';

export type ImageFacts = {
  readonly sizeBytes: number;
  readonly fingerprint: string;
  /** Of the persistent bitmaps stored in the image; of a running VM's those that were there at its start. */
  readonly bitmaps: readonly string[];
};

/** The part of `qemu-img info --backing-chain --output=json` that we read. */
type QemuInfo = {
  readonly filename: string;
  readonly format: string;
  readonly 'virtual-size': number;
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
  }[];
  readonly 'format-specific'?: {
    readonly data?: { readonly bitmaps?: readonly { readonly name: string }[] };
  };
};

/**
 * @param image its path, or what QEMU takes for one, and its format, which is never probed.
 * @throws {HoldfastError} `HypervisorFailed` if qemu-img cannot read it, `ToolMissing`, `Cancelled`.
 */
export async function readImageFacts(
  image: { readonly path: string; readonly format: string },
  signal?: AbortSignal,
): Promise<ImageFacts> {
  const result = await runTool({
    command: 'qemu-img',
    // A running VM holds the image's lock: what is read here does not change under it.
    args: ['info', '-U', '--backing-chain', '--output=json', '-f', image.format, image.path],
    signal,
  });
  if ('complaint' in result) {
    throw new HoldfastError(
      'HypervisorFailed',
      `cannot read what "${image.path}" is: ${result.complaint}`,
      { details: { path: image.path } },
    );
  }
  const chain = JSON.parse(result.output) as readonly QemuInfo[];
  const top = chain[0]!;
  return {
    sizeBytes: top['virtual-size'],
    fingerprint: fingerprintOf(chain),
    bitmaps: (top['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name),
  };
}

/** Readable, so that two that differ say why. */
function fingerprintOf(chain: readonly QemuInfo[]): string {
  const [top, ...backing] = chain;
  const snapshots = (top!.snapshots ?? []).map(
    (snapshot) =>
      `${snapshot.id}@${snapshot['date-sec']}.${String(snapshot['date-nsec']).padStart(9, '0')}`,
  );
  return JSON.stringify({
    format: top!.format,
    size: top!['virtual-size'],
    ...(backing.length === 0
      ? {}
      : { backing: backing.map(({ filename, format }) => [filename, format]) }),
    ...(snapshots.length === 0 ? {} : { snapshots }),
  });
}
