/**
 * The scratch image into which QEMU has pushed a disk as it was at one instant: all of it, or what a bitmap
 * says was written. The image has no backing file: what it does not hold reads as zeros and is not the disk's.
 */
import { stat } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { ExtentCollector, imageError, runTool, type Extent } from '#disk';

const RESERVED_PART = 0.05;
const RESERVED_BYTES = 256 * 1024 * 1024;

type MapLine = { readonly start: number; readonly length: number; readonly present?: boolean };

/**
 * What a qcow2 image holds itself, zeros too, in whole clusters: ascending, at most some million extents.
 *
 * @throws {HoldfastError} `ToolMissing`, also where qemu-img is older than 6.1; `DiskUnavailable`, `Cancelled`.
 */
export async function heldExtents(
  path: string,
  signal: AbortSignal | undefined,
): Promise<readonly Extent[]> {
  const held = new ExtentCollector();
  let isTold = true;
  const result = await runTool({
    command: 'qemu-img',
    args: ['map', '--output=json', '-f', 'qcow2', path],
    onLine: (line) => {
      const json = /\{.*\}/.exec(line)?.[0];
      if (json === undefined) return;
      const { start, length, present } = JSON.parse(json) as MapLine;
      isTold &&= present !== undefined;
      if (present === true) held.add({ offset: start, length });
    },
    signal,
  });
  if ('complaint' in result) {
    throw imageError('find what was copied to', { path, format: 'qcow2' }, result.complaint);
  }
  if (isTold) return held.extents();
  throw new HoldfastError(
    'ToolMissing',
    'this qemu-img does not tell what an image holds itself: install qemu-utils 6.1 or later',
    { details: { tool: 'qemu-img' } },
  );
}

/**
 * What stays free in a scratch folder's file system: below it a job is given up, before QEMU stops the guest.
 *
 * @param sizeBytes of the file system.
 */
export function reservedBytes(sizeBytes: number): number {
  return Math.min(RESERVED_BYTES, Math.floor(sizeBytes * RESERVED_PART));
}

/**
 * How much a copy of a whole disk may take, from what its files take on the host; of what is no file, the disk's
 * size. Compressed images take more when they are copied.
 *
 * @param disk.files of the image and its backing files, as QEMU names them.
 */
export async function allocatedBytes(disk: {
  readonly sizeBytes: number;
  readonly files: readonly string[];
}): Promise<number> {
  let total = 0;
  for (const file of disk.files) {
    const found = await stat(file).catch(() => undefined); // An address, or in a namespace of QEMU's.
    if (found?.isFile() !== true) return disk.sizeBytes;
    total += found.blocks * 512;
  }
  return Math.min(total, disk.sizeBytes);
}
