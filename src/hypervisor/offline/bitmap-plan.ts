/**
 * Decides by which dirty bitmaps the changes of an image that is off are found, and what is done with the
 * others. Pure.
 *
 * A backup adds the new bitmap N before it reads, and drops the old one A after its commit. Backups of the
 * running VM also disable A in between. So one that was killed leaves, of our repository:
 *
 * ```
 *   A records,  N records,  N's point is not there    A counts on; N is merged into it and removed
 *   A disabled, N records,  N's point is not there    A and N together lack no write: as above, and A enabled
 *   A,          N records,  N's point is there        N counts; A is removed with the next commit
 *   any of them in use                                QEMU was killed: none can be trusted
 * ```
 *
 * Merging more than needed only reads more. Bitmaps that backups under other items count from are not touched,
 * but where such a backup left an A disabled: N is merged into it too, or it is removed where there is no N.
 */
import type { QemuBitmap } from '#disk';
import { parseBitmapName } from '../bitmap-name.ts';
import type { Tracking, TrackingBase, TrackingRequest } from '../hypervisor.ts';
import { fingerprintDifference } from '../image-fingerprint.ts';

export type OfflineBitmapPlan = {
  readonly tracking: Tracking;
  /** Whose union counts the changes, the base's first; none unless tracking is `bitmap`. */
  readonly counting: readonly string[];
  /** What `prepare` adds to bitmaps, which count on then. */
  readonly merges: readonly { readonly into: string; readonly from: readonly string[] }[];
  /** What `prepare` removes then: those of points that were never committed, and those that lack writes. */
  readonly leftovers: readonly string[];
  /** All others of this item: they are removed when the new point is committed, and not before. */
  readonly replaced: readonly string[];
};

type Image = { readonly bitmaps: readonly QemuBitmap[]; readonly fingerprint: string };

type Request = Pick<TrackingRequest, 'repositoryId' | 'otherBases'> & {
  /** Of the disk. */
  readonly bases: readonly TrackingBase[];
};

export function planOfflineBitmaps(image: Image, request: Request): OfflineBitmapPlan {
  const all = ownBitmaps(image.bitmaps, request.repositoryId);
  const own = all.filter(({ point }) => !request.otherBases.has(point));
  const ofOthers = all.filter(({ point }) => request.otherBases.has(point));
  const plan = planOwn(own, image, request);
  const disabled = ofOthers.filter((bitmap) => !records(bitmap) && !isLost(bitmap));
  if (disabled.length === 0) return plan;
  const points = new Set(request.bases.map(({ point }) => point));
  const begun = own.filter(({ point }) => !points.has(point));
  const isMerged = disabled.every((bitmap) => isGapless(bitmap, begun));
  const from = namesOf(begun.filter((bitmap) => !isLost(bitmap)));
  const leftovers = [...plan.leftovers, ...(isMerged ? from : namesOf(disabled))];
  return {
    ...plan,
    merges: [
      ...plan.merges,
      ...(isMerged ? disabled : []).map(({ name }) => ({ into: name, from })),
    ],
    leftovers: [...new Set(leftovers)],
    replaced: plan.replaced.filter((name) => !leftovers.includes(name)),
  };
}

function planOwn(own: readonly OwnBitmap[], image: Image, request: Request): OfflineBitmapPlan {
  const known = new Set(request.bases.map(({ point }) => point));
  const plan = { counting: [], merges: [], leftovers: [], replaced: namesOf(own) };
  if (request.bases.length === 0) return { ...plan, tracking: { kind: 'initial' } };

  const reasons: string[] = [];
  for (const [at, { point, fingerprint }] of request.bases.entries()) {
    const bitmap = own.find((candidate) => candidate.point === point);
    if (bitmap === undefined || isLost(bitmap)) continue;
    const older = new Set(request.bases.slice(at + 1).map((base) => base.point));
    const newer = own.filter((other) => other !== bitmap && !older.has(other.point));
    const difference = fingerprintDifference(fingerprint, image.fingerprint);
    if (difference !== undefined) reasons.push(difference);
    else if (!isGapless(bitmap, newer))
      reasons.push('its bitmap was disabled, and nothing counted on');
    else {
      const counting = [bitmap, ...newer.filter((other) => !isLost(other))];
      const leftovers = namesOf(counting.filter((other) => !known.has(other.point)));
      return {
        tracking: { kind: 'bitmap', base: point },
        counting: namesOf(counting),
        merges: leftovers.length === 0 ? [] : [{ into: bitmap.name, from: leftovers }],
        leftovers,
        replaced: plan.replaced.filter((name) => !leftovers.includes(name)),
      };
    }
  }
  if (own.some(isLost)) reasons.push('QEMU or its host was killed, and the bitmap was not saved');
  const reason = reasons[0] ?? NONE;
  return { ...plan, tracking: { kind: 'compare', reason } };
}

/** Whether it counted every write since its point, alone or with those that began after it. */
function isGapless(bitmap: OwnBitmap, newer: readonly OwnBitmap[]): boolean {
  if (records(bitmap)) return true;
  return newer.some(records) && !newer.some(isLost);
}

const NONE =
  'it has no bitmap that counts from a point of this disk: QEMU was killed before it saved one, the image was replaced, "vm untrack" removed it, or the point expired';

type OwnBitmap = QemuBitmap & { readonly point: string };

function ownBitmaps(bitmaps: readonly QemuBitmap[], repositoryId: string): OwnBitmap[] {
  return bitmaps.flatMap((bitmap) => {
    const parsed = parseBitmapName(bitmap.name);
    return parsed?.repositoryId === repositoryId ? [{ ...bitmap, point: parsed.point }] : [];
  });
}

function records({ flags }: QemuBitmap): boolean {
  return flags.includes('auto') && !flags.includes('in-use');
}

function isLost({ flags }: QemuBitmap): boolean {
  return flags.includes('in-use');
}

function namesOf(bitmaps: readonly QemuBitmap[]): string[] {
  return bitmaps.map(({ name }) => name);
}
