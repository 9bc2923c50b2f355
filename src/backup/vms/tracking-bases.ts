/**
 * The points that a disk's bitmap may count from: what the newest points of the item say of it; and those that
 * bitmaps of other items count from, which are nobody else's to drop.
 */
import { isHoldfastError } from '#base';
import type { TrackingBase } from '#hypervisor';
import { readManifest, type Repository } from '#repository';
import type { NewestPoint } from './other-vm.ts';
import { vmNoteFromJson, type VmNote } from './vm-note.ts';

/** After so many increments in a row that nothing could audit, all of the disk is read. */
const MOST_UNAUDITED = 7;

/** A bitmap counts from the newest point but where something went wrong: older points are not looked at. */
const LOOKED_AT = 16;

export type KnownBases = {
  /** By disk, newest first. */
  readonly bases: ReadonlyMap<string, readonly TrackingBase[]>;
  /** Of every other item, the newest point of each of its disks (`TrackingRequest.otherBases`). */
  readonly otherBases: ReadonlySet<string>;
  /** By disk, why no bitmap may be trusted this time: the last audit found it wrong. */
  readonly suspects: ReadonlyMap<string, string>;
  /** By disk, how many increments up to the newest point nothing could audit; no entry: none. */
  readonly unaudited: ReadonlyMap<string, number>;
  /** Undefined: the item has no point. */
  readonly newest: NewestPoint | undefined;
};

/** What is known of the item's disks. */
export async function trackingBases(repository: Repository, item: string): Promise<KnownBases> {
  const itemId = repository.parts.keyring.itemId(item);
  const points = [...repository.state.points.values()]
    .filter((point) => point.visible && point.item === itemId)
    .toReversed();
  const bases = new Map<string, TrackingBase[]>();
  const suspects = new Map<string, string>();
  const unaudited = new Map<string, number>();
  let newest: NewestPoint | undefined;
  for (const [at, known] of points.entries()) {
    const note = at < LOOKED_AT ? await noteOf(repository, known) : undefined;
    newest ??= { point: known.point, disks: known.disks.map(({ name }) => name), note };
    for (const { name } of known.disks) {
      const noted = note?.disks.find((disk) => disk.name === name);
      const ofDisk = bases.get(name) ?? [];
      bases.set(name, [...ofDisk, { point: known.point, fingerprint: noted?.fingerprint }]);
      if (ofDisk.length > 0 || noted === undefined) continue;
      unaudited.set(name, noted.unaudited ?? 0);
      if (noted.isSuspect) suspects.set(name, foundWrong(known.point));
    }
  }
  return { bases, otherBases: newestOfOthers(repository, itemId), suspects, unaudited, newest };
}

function foundWrong(point: string): string {
  return `its tracking was found wrong when point ${point} was taken`;
}

/** By disk, why its bitmap is to be audited now. */
export function dueAudits({ unaudited }: KnownBases): ReadonlyMap<string, string> {
  const due = [...unaudited].filter(([, count]) => count >= MOST_UNAUDITED);
  return new Map(
    due.map(([disk, count]) => [
      disk,
      `read whole to audit its bitmap: the last ${count} increments were pushed, which cannot be audited`,
    ]),
  );
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
