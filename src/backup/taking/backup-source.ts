/** The disks of one backup in the main thread: prepared, measured, watched for change, closed together. */
import { HoldfastError, type Clock } from '#base';
import {
  alignExtents,
  normaliseExtents,
  prepareSource,
  type Extent,
  type PreparedDisk,
} from '#disk';

export type DiskToBackUp = {
  /** The disk's name in the item: which chain it belongs to. */
  readonly name: string;
  /** A path or an NBD address. */
  readonly location: string;
  /** QEMU's name of the format, where the extension does not say it. */
  readonly format?: string;
  /** As `PrepareOptions.saved`. */
  readonly saved?: string;
  /** Backing and data files outside the image's folder that may be read all the same. */
  readonly allowedFiles?: readonly string[];
  /** Bytes that may have changed since the item's newest point; nothing is taken for granted. */
  readonly hint?: readonly Extent[];
  /** What the hint leaves out cannot be read: it reads as zeros, and nothing of the hint can be audited. */
  readonly holdsHintOnly?: boolean;
  /** Everything that the hint calls unchanged is compared, and no sample of it only. */
  readonly auditsAll?: boolean;
};

export type BackupSource = {
  readonly name: string;
  readonly prepared: PreparedDisk;
  /** In whole blocks. */
  readonly data: readonly Extent[];
  /** In whole blocks. */
  readonly hint: readonly Extent[] | undefined;
  readonly holdsHintOnly: boolean;
  readonly auditsAll: boolean;
  readonly stampBefore: string;
};

export type SourceOptions = {
  readonly disks: readonly DiskToBackUp[];
  readonly blockSize: number;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
};

/** Lends the prepared disks to `use` and closes them, whatever happens. @throws as `prepareSource`. */
export async function withSources<Result>(
  options: SourceOptions,
  use: (sources: readonly BackupSource[]) => Promise<Result>,
): Promise<Result> {
  const { disks, clock, signal } = options;
  const preparing = disks.map((disk) =>
    prepareSource({
      location: disk.location,
      clock,
      ...(disk.format === undefined ? {} : { format: disk.format }),
      ...(disk.saved === undefined ? {} : { saved: disk.saved }),
      ...(disk.allowedFiles === undefined ? {} : { allowedFiles: disk.allowedFiles }),
      ...(signal === undefined ? {} : { signal }),
    }),
  );
  const settled = await Promise.allSettled(preparing);
  try {
    const prepared = await Promise.all(preparing);
    const sources = prepared.map((disk, at) => measure(disk, disks[at]!, options.blockSize));
    return await use(await Promise.all(sources));
  } finally {
    for (const outcome of settled) {
      if (outcome.status === 'fulfilled') await outcome.value.close();
    }
  }
}

async function measure(
  prepared: PreparedDisk,
  { name, hint, holdsHintOnly = false, auditsAll = false }: DiskToBackUp,
  blockBytes: number,
): Promise<BackupSource> {
  const { sizeBytes } = prepared;
  // Whole blocks, the last one too: what follows the disk's end counts as zeros.
  const bounds = { blockBytes, sizeBytes: Math.ceil(sizeBytes / blockBytes) * blockBytes };
  const stampBefore = await prepared.stamp();
  return {
    name,
    prepared,
    holdsHintOnly,
    auditsAll,
    stampBefore,
    data: alignExtents(await prepared.dataExtents(), bounds),
    hint: hint === undefined ? undefined : alignExtents(checkHint(name, hint, sizeBytes), bounds),
  };
}

/** @throws {HoldfastError} `DiskChanged` if a disk was written while it was read. */
export async function refuseChange(sources: readonly BackupSource[]): Promise<void> {
  for (const { name, prepared, stampBefore } of sources) {
    if ((await prepared.stamp()) === stampBefore) continue;
    throw new HoldfastError(
      'DiskChanged',
      `${name} (${prepared.description}) was written while it was read: nothing was committed; back it up while nobody writes, or through its hypervisor`,
      { details: { disk: name } },
    );
  }
}

/** The hint as a normal list inside the disk. */
function checkHint(name: string, hint: readonly Extent[], sizeBytes: number): Extent[] {
  for (const { offset, length } of hint) {
    if (isByteCount(offset) && isByteCount(length)) continue;
    throw new HoldfastError(
      'ArgumentInvalid',
      `the hint for ${name} has an extent that is none: offset ${offset}, length ${length}`,
      { details: { disk: name } },
    );
  }
  const inside = hint.map(({ offset, length }) => ({
    offset,
    length: Math.min(offset + length, sizeBytes) - offset,
  }));
  return normaliseExtents(inside);
}

function isByteCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
