/**
 * The points that a disk's bitmap may count from: what the newest points of the item say of it; and those that
 * bitmaps of other items count from, which are nobody else's to drop.
 */
import { isHoldfastError } from '#base';
import type { TrackingBase } from '#hypervisor';
import { readManifest, type Repository } from '#repository';
import { vmNoteFromJson, type VmNote } from './vm-note.ts';

/** A bitmap counts from the newest point but where something went wrong: older points are not looked at. */
const LOOKED_AT = 16;

export type KnownBases = {
  /** By disk, newest first. */
  readonly bases: ReadonlyMap<string, readonly TrackingBase[]>;
  /** Of every other item, the newest point of each of its disks (`TrackingRequest.otherBases`). */
  readonly otherBases: ReadonlySet<string>;
  /** By disk, why no bitmap may be trusted this time: the last audit found it wrong. */
  readonly suspects: ReadonlyMap<string, string>;
};

/** What is known of the item's disks. */
export async function trackingBases(repository: Repository, item: string): Promise<KnownBases> {
  const itemId = repository.parts.keyring.itemId(item);
  const points = [...repository.state.points.values()]
    .filter((point) => point.visible && point.item === itemId)
    .toReversed();
  const bases = new Map<string, TrackingBase[]>();
  const suspects = new Map<string, string>();
  for (const [at, known] of points.entries()) {
    const note = at < LOOKED_AT ? await noteOf(repository, known) : undefined;
    for (const { name } of known.disks) {
      const noted = note?.disks.find((disk) => disk.name === name);
      const ofDisk = bases.get(name) ?? [];
      if (ofDisk.length === 0 && noted?.isSuspect === true) {
        suspects.set(name, `its tracking was found wrong when point ${known.point} was taken`);
      }
      ofDisk.push({ point: known.point, fingerprint: noted?.fingerprint });
      bases.set(name, ofDisk);
    }
  }
  return { bases, otherBases: newestOfOthers(repository, itemId), suspects };
}

function newestOfOthers({ state }: Repository, itemId: string): ReadonlySet<string> {
  const newest = new Set<string>();
  for (const ids of state.chains.values()) {
    const id = ids.findLast((point) => state.points.get(point)?.visible === true);
    if (id !== undefined && state.points.get(id)!.item !== itemId) newest.add(id);
  }
  return newest;
}

type KnownPoint =
  Repository['state']['points'] extends ReadonlyMap<string, infer Point> ? Point : never;

/** A manifest that cannot be read says nothing; its point is still there to compare with. */
async function noteOf(repository: Repository, point: KnownPoint): Promise<VmNote | undefined> {
  try {
    return vmNoteFromJson((await readManifest(repository.parts, point)).vm);
  } catch (error) {
    const isUnreadable = isHoldfastError(error) && error.kind !== 'unavailable';
    if (!isUnreadable) throw error;
    return undefined;
  }
}
