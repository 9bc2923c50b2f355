/** Opens a disk from plain data: what a worker thread does with the spec that the main thread prepared. */
import type { DiskSource, DiskSpec, DiskTarget, OpenOptions, TargetSpec } from './disk-source.ts';
import { NbdDisk } from './nbd-disk.ts';
import { Qcow2Disk } from './qcow2-disk.ts';
import { RawDisk } from './raw-disk.ts';

/**
 * Opens for reading. The caller closes it.
 *
 * @throws {HoldfastError} `DiskNotFound`, `DiskUnavailable`, `DiskChanged`, `Cancelled`.
 */
export async function openSource(spec: DiskSpec, options: OpenOptions): Promise<DiskSource> {
  const unwritten = { ...spec, fresh: false };
  return unwritten.kind === 'raw'
    ? await RawDisk.open(unwritten, 'r', options)
    : await NbdDisk.open(unwritten, options);
}

/** Opens for writing and reading. The caller flushes and closes it. Throws as `openSource`. */
export async function openTarget(spec: TargetSpec, options: OpenOptions): Promise<DiskTarget> {
  if (spec.kind === 'newQcow2') return await Qcow2Disk.open(spec, options);
  return spec.kind === 'raw'
    ? await RawDisk.open(spec, 'r+', options)
    : await NbdDisk.open(spec, options);
}
