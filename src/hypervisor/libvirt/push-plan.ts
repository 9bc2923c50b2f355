/**
 * What of each disk a push copies: all of it, or what a checkpoint's bitmap counted; of an audited disk all of it,
 * and then, into another image, what its bitmap counted.
 */
import { formatBitmapName } from '../bitmap-name.ts';
import type { PreparedDisk, PrepareRequest } from '../hypervisor.ts';
import type { VmDisk } from '../vm.ts';
import { readCheckpoint, type CheckpointScope } from './checkpoints.ts';
import { pushNeeds } from './push.ts';
import type { ScratchNeeds } from './scratch-space.ts';

/** The checkpoint that a snapshot shows a disk's changes from; undefined: it shows all of it. */
export function incrementBase(request: PrepareRequest, disk: PreparedDisk): string | undefined {
  return disk.audit === undefined ? checkpointOf(request, disk) : undefined;
}

/** The checkpoint that a disk's bitmap counts from, if it is used. */
export function checkpointOf(
  { tracking: { repositoryId } }: PrepareRequest,
  { tracking }: PreparedDisk,
): string | undefined {
  if (tracking.kind !== 'bitmap') return undefined;
  return formatBitmapName({ repositoryId, point: tracking.base });
}

export function auditedDisks(disks: readonly PreparedDisk[]): PreparedDisk[] {
  return disks.filter(({ audit }) => audit !== undefined);
}

/** What an audited disk's bitmap counted is copied into an image of its own. */
export function countedImage({ name, sizeBytes }: PreparedDisk): {
  readonly name: string;
  readonly sizeBytes: number;
} {
  return { name: countedName(name), sizeBytes };
}

export function countedName(diskName: string): string {
  return `${diskName}-counted`;
}

/** Asks for what the bitmaps counted, of those that are used. */
export async function needsOfPush(
  scope: CheckpointScope,
  {
    request,
    chosen,
    disks,
  }: {
    readonly request: PrepareRequest;
    readonly chosen: readonly VmDisk[];
    readonly disks: readonly PreparedDisk[];
  },
): Promise<ScratchNeeds> {
  const { scratchDir, signal } = request;
  const dirtyBytes = new Map<string, number>();
  for (const disk of disks) {
    const base = checkpointOf(request, disk);
    if (base === undefined) continue;
    const counted = (await readCheckpoint(scope, base)).dirtyBytes.get(disk.name);
    if (counted !== undefined) dirtyBytes.set(disk.name, counted);
  }
  const audited = new Set(auditedDisks(disks).map(({ name }) => name));
  return await pushNeeds({ scratchDir, chosen, dirtyBytes, audited, signal });
}
