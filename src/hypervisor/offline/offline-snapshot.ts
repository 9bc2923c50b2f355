/** The images of a VM that is off, held so that nobody writes them while they are read (prepare-offline.ts). */
import { dirname } from 'node:path';
import { realpath } from 'node:fs/promises';
import { HoldfastError, isHoldfastError, throwIfCancelled, type Clock, toldElsewhere } from '#base';
import { startImageServer, type ImageServer } from '#disk';
import type { PrepareRequest, Snapshot, SnapshotDisk } from '../hypervisor.ts';
import { addBitmap, readDirtyExtents, removeBitmap } from './image-bitmaps.ts';
import type { OfflineDisk } from './offline-disk.ts';

type Taking = {
  readonly request: Pick<PrepareRequest, 'tracking' | 'warn' | 'signal'>;
  readonly clock: Clock;
};

type Held = {
  readonly disk: OfflineDisk;
  /** Undefined: a raw image, of which QEMU's readers lock nobody out. */
  readonly server: ImageServer | undefined;
};

/** @throws {HoldfastError} `DiskInUse`, `DiskUnavailable`, `Cancelled`, with everything undone. */
export async function takeOfflineSnapshot(
  disks: readonly OfflineDisk[],
  taking: Taking,
): Promise<Snapshot> {
  const begun: OfflineDisk[] = [];
  const held: Held[] = [];
  try {
    for (const disk of disks) if (await beginBitmap(disk, taking)) begun.push(disk);
    for (const disk of disks) held.push(await hold(disk, taking));
    const read: SnapshotDisk[] = [];
    for (const one of held) read.push(await readHeld(one, taking));
    return snapshot(read, { ...taking, begun, held });
  } catch (error) {
    const left = await endAll({ ...taking, begun, held }, 'failed');
    if (left.length > 0) taking.request.warn(`not everything was undone: ${left.join('; ')}`);
    throw error;
  }
}

/** Whether the new bitmap counts from here on. Where it cannot, the old one goes on. */
async function beginBitmap(disk: OfflineDisk, { request }: Taking): Promise<boolean> {
  const { image, newBitmap } = disk;
  throwIfCancelled(request.signal);
  if (newBitmap === undefined) return false;
  const granularityBytes = request.tracking.blockSize;
  try {
    await addBitmap(image, { name: newBitmap, granularityBytes });
    return true;
  } catch (error) {
    const isRefused =
      isHoldfastError(error, 'DiskUnavailable') || isHoldfastError(error, 'DiskFormatUnsupported');
    if (!isRefused) throw error;
    request.warn(
      `changes of disk ${disk.name} will not be tracked from this point: ${error.message}`,
    );
    return false;
  }
}

async function hold(disk: OfflineDisk, { request, clock }: Taking): Promise<Held> {
  throwIfCancelled(request.signal);
  const { image } = disk;
  if (image.format === 'raw') return { disk, server: undefined };
  return { disk, server: await startImageServer({ image, writable: false, clock }) };
}

async function readHeld({ disk, server }: Held, { request, clock }: Taking): Promise<SnapshotDisk> {
  const { name, sizeBytes, image, tracking, counting } = disk;
  const { signal } = request;
  const options = { clock, ...(signal === undefined ? {} : { signal }) };
  const dirty =
    tracking.kind === 'bitmap' ? await readDirtyExtents(image, counting, options) : undefined;
  // Its reader follows the chain by itself, and only inside the folder; what was allowed here, we show it.
  if (server !== undefined && (await reachesOutside(disk))) {
    return { name, sizeBytes, location: server.uri, dirty };
  }
  return { name, sizeBytes, location: image.path, format: image.format, dirty };
}

async function reachesOutside({ image }: OfflineDisk): Promise<boolean> {
  const folder = `${dirname(await realpath(image.path))}/`;
  return image.files.some((file) => file !== image.path && !file.startsWith(folder));
}

type Taken = Taking & { readonly begun: readonly OfflineDisk[]; readonly held: readonly Held[] };

function snapshot(disks: readonly SnapshotDisk[], taken: Taken): Snapshot {
  let released: Promise<void> | undefined;
  const lost = new Promise<never>((_resolve, reject) => {
    for (const { server } of taken.held) {
      void server?.ended.then((error) => {
        if (released === undefined) reject(error);
      });
    }
  });
  void toldElsewhere(lost); // Whoever waits for it is told; nobody may.
  return {
    disks: async () => await Promise.resolve(disks),
    lost,
    release: (outcome) => {
      released ??= release(taken, outcome);
      return released;
    },
  };
}

async function release(taken: Taken, outcome: 'committed' | 'failed'): Promise<void> {
  const left = await endAll(taken, outcome);
  if (left.length === 0) return;
  throw new HoldfastError(
    'HypervisorFailed',
    `bitmaps that are of no use any more could not be removed, the next backup tries again: ${left.join('; ')}`,
  );
}

/** Lets go of the images and removes the bitmaps that nothing counts from now. What was left, and why. */
async function endAll(
  { request, begun, held }: Taken,
  outcome: 'committed' | 'failed',
): Promise<string[]> {
  for (const { server } of held) await server?.close();
  const left: string[] = [];
  for (const disk of begun) {
    const useless = outcome === 'committed' ? disk.replaced : [disk.newBitmap!];
    for (const name of useless) {
      try {
        await removeBitmap(disk.image, name);
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        if (error.code === 'DiskNotFound') continue;
        if (error.code === 'DiskInUse') {
          request.warn(`${disk.name} is in use again: its next backup removes the bitmap ${name}`);
        } else left.push(`${name}: ${error.message}`);
      }
    }
  }
  return left;
}
