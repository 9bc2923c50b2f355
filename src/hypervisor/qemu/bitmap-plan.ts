/**
 * Decides by which dirty bitmap a disk's changes are found, and what must be repaired before. Pure.
 *
 * A backup makes the new bitmap N, then disables the old one A, then commits, then removes A; a failed one
 * merges N into A. So a killed one leaves, of our repository:
 *
 * ```
 *   A recording, N recording      N's point is not there: A counts on, N goes at the next commit
 *   A disabled,  N recording      point not there: N is merged into A, A enabled, N removed
 *   A disabled,  N recording      point there: N counts; A is removed
 * ```
 *
 * No other bitmap of ours is ever disabled. So A with all that records lacks no write, and merging more than
 * needed only reads more.
 *
 * Bitmaps that backups under other items count from are not touched, but for an A of theirs that a killed backup
 * left disabled: N is merged into it as above, by whichever backup comes first, so that none comes that finds a
 * disabled one and an N of a later time. One that has no N is removed.
 */
import { formatBitmapName, parseBitmapName } from '../bitmap-name.ts';
import type { Tracking, TrackingBase, TrackingRequest } from '../hypervisor.ts';
import { fingerprintDifference } from '../image-fingerprint.ts';
import type { QmpAction, QmpBitmap } from '../qmp/qmp-commands.ts';

export type BitmapState = {
  /** The node that has the bitmaps. */
  readonly node: string;
  readonly bitmaps: readonly QmpBitmap[];
  readonly fingerprint: string;
  /** Whether bitmaps outlive QEMU; false for raw images. */
  readonly persists: boolean;
};

export type BitmapPlan = {
  readonly tracking: Tracking;
  /** With tracking `bitmap`: its name. */
  readonly base?: string;
  /** To do in one transaction before anything else. */
  readonly repairs: readonly QmpAction[];
  /** For people: what the repairs are about. */
  readonly repaired?: string;
};

type Request = Pick<TrackingRequest, 'repositoryId' | 'otherBases'> & {
  /** Of the disk. */
  readonly bases: readonly TrackingBase[];
};

export function planBitmaps(state: BitmapState, request: Request): BitmapPlan {
  const all = ownBitmaps(state.bitmaps, request.repositoryId);
  const own = all.filter(({ point }) => !request.otherBases.has(point));
  const ofOthers = all.filter(({ point }) => request.otherBases.has(point));
  const plan = planOwn(own, state, request);
  const disabled = ofOthers.filter((bitmap) => isSound(bitmap) && !bitmap.recording);
  if (disabled.length === 0) return plan;
  const points = new Set(request.bases.map(({ point }) => point));
  const leftovers = own.filter(({ point }) => !points.has(point));
  return withOthers(plan, { node: state.node, disabled, leftovers });
}

function planOwn(own: readonly Own[], state: BitmapState, request: Request): BitmapPlan {
  if (request.bases.length === 0) return { tracking: { kind: 'initial' }, repairs: [] };
  for (const { point, fingerprint } of request.bases) {
    const name = formatBitmapName({ repositoryId: request.repositoryId, point });
    const bitmap = own.find((candidate) => candidate.name === name);
    if (bitmap === undefined || !isSound(bitmap) || fingerprint !== state.fingerprint) continue;
    const others = own.filter((other) => other !== bitmap);
    const tracking = { kind: 'bitmap', base: point } as const;
    const plan = bitmap.recording ? dropDisabled(state, others) : mergeBack(state, bitmap, others);
    if (plan !== undefined) return { tracking, base: name, ...plan };
  }
  const reason = reasonAgainst(own, { ...state, ...request });
  return { tracking: { kind: 'compare', reason }, repairs: [] };
}

/** Those of this repository that begin neither at `point` nor where another item's does: useless after a commit. */
export function uselessBitmaps(
  bitmaps: readonly QmpBitmap[],
  kept: Pick<TrackingRequest, 'repositoryId' | 'point' | 'otherBases'>,
): string[] {
  return ownBitmaps(bitmaps, kept.repositoryId)
    .filter(({ point }) => point !== kept.point && !kept.otherBases.has(point))
    .map(({ name }) => name);
}

/** Puts the writes that `from` counted back into `into`, which counts on. */
export function mergeActions(
  node: string,
  { into, from }: { readonly into: string; readonly from: readonly string[] },
): QmpAction[] {
  return [...additions(node, { into, from }), ...from.map((name) => removal(node, name))];
}

function additions(
  node: string,
  { into, from }: { readonly into: string; readonly from: readonly string[] },
): QmpAction[] {
  return [
    { type: 'block-dirty-bitmap-enable', data: { node, name: into } },
    { type: 'block-dirty-bitmap-merge', data: { node, target: into, bitmaps: from } },
  ];
}

export function removal(node: string, name: string): QmpAction {
  return { type: 'block-dirty-bitmap-remove', data: { node, name } };
}

type Own = QmpBitmap & { readonly name: string; readonly point: string };

function ownBitmaps(bitmaps: readonly QmpBitmap[], repositoryId: string): Own[] {
  return bitmaps.flatMap((bitmap) => {
    const parsed = bitmap.name === undefined ? undefined : parseBitmapName(bitmap.name);
    if (bitmap.name === undefined || parsed?.repositoryId !== repositoryId) return [];
    return [{ ...bitmap, name: bitmap.name, point: parsed.point }];
  });
}

function isSound(bitmap: QmpBitmap): boolean {
  return bitmap.inconsistent !== true && !bitmap.busy;
}

function isLost({ inconsistent }: QmpBitmap): boolean {
  return inconsistent === true;
}

function dropDisabled(
  { node }: BitmapState,
  others: readonly Own[],
): Pick<BitmapPlan, 'repairs' | 'repaired'> {
  const left = others.filter((other) => isSound(other) && !other.recording);
  if (left.length === 0) return { repairs: [] };
  return {
    repairs: left.map(({ name }) => removal(node, name)),
    repaired: 'a backup was killed after its commit: its old bitmap was removed',
  };
}

const MERGED = 'a backup was killed before its commit: its bitmap was merged back';

/** Undefined: the writes since it was disabled are in no bitmap. */
function mergeBack(
  { node }: BitmapState,
  bitmap: Own,
  others: readonly Own[],
): Pick<BitmapPlan, 'repairs' | 'repaired'> | undefined {
  const sound = others.filter(isSound);
  const isGapless = sound.some(({ recording }) => recording) && !others.some(isLost);
  if (!isGapless) return undefined;
  const from = sound.map(({ name }) => name);
  return { repairs: mergeActions(node, { into: bitmap.name, from }), repaired: MERGED };
}

/** The plan, with the disabled bitmaps of other items brought in order. */
function withOthers(
  plan: BitmapPlan,
  found: {
    readonly node: string;
    readonly disabled: readonly Own[];
    readonly leftovers: readonly Own[];
  },
): BitmapPlan {
  const { node, disabled, leftovers } = found;
  const from = leftovers.map(({ name }) => name);
  if (!leftovers.every(isSound) || !leftovers.some(({ recording }) => recording)) {
    const repairs = [...plan.repairs, ...disabled.map(({ name }) => removal(node, name))];
    return { ...plan, repairs };
  }
  const merged = disabled.flatMap(({ name }) => additions(node, { into: name, from }));
  const removed = plan.repairs.flatMap(({ type, data }) =>
    type === 'block-dirty-bitmap-remove' ? [data.name] : [],
  );
  const left = from.filter((name) => !removed.includes(name));
  const repairs = [...merged, ...plan.repairs, ...left.map((name) => removal(node, name))];
  return { ...plan, repairs, repaired: plan.repaired ?? MERGED };
}

function reasonAgainst(own: readonly Own[], state: BitmapState & Pick<Request, 'bases'>): string {
  const points = new Map(state.bases.map((base) => [base.point, base]));
  const known = own.filter(({ point }) => points.has(point));
  if (own.some(isLost)) {
    return 'QEMU or its host was killed while the bitmap was in use: it cannot be trusted';
  }
  for (const { point } of known) {
    const difference = fingerprintDifference(points.get(point)?.fingerprint, state.fingerprint);
    if (difference !== undefined) return difference;
  }
  if (known.some(({ busy }) => busy)) return 'the bitmap is in use by another program';
  if (known.length > 0) return 'the bitmap is disabled, and nothing counted since';
  if (own.length > 0)
    return `the bitmap counts from point ${own[0]!.point}, which has expired or was never taken`;
  return state.persists
    ? 'the image has no bitmap of this repository: QEMU or its host was killed before it was saved, or ' +
        'the image was replaced, or "vm untrack" removed it'
    : 'a bitmap of this image lives only as long as QEMU, which was started anew since the last point';
}
