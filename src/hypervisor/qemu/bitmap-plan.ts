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
 */
import { formatBitmapName, parseBitmapName } from '../bitmap-name.ts';
import type { Tracking, TrackingBase } from '../hypervisor.ts';
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

export function planBitmaps(
  state: BitmapState,
  request: { readonly repositoryId: string; readonly bases: readonly TrackingBase[] },
): BitmapPlan {
  if (request.bases.length === 0) return { tracking: { kind: 'initial' }, repairs: [] };
  const own = ownBitmaps(state.bitmaps, request.repositoryId);
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

/** Those of this repository that are not of a point's bitmap that goes on: useless after a commit. */
export function uselessBitmaps(
  bitmaps: readonly QmpBitmap[],
  kept: { readonly repositoryId: string; readonly point: string },
): string[] {
  return ownBitmaps(bitmaps, kept.repositoryId)
    .map(({ name }) => name)
    .filter((name) => name !== formatBitmapName(kept));
}

/** Puts the writes that `from` counted back into `into`, which counts on. */
export function mergeActions(
  node: string,
  { into, from }: { readonly into: string; readonly from: readonly string[] },
): QmpAction[] {
  return [
    { type: 'block-dirty-bitmap-enable', data: { node, name: into } },
    { type: 'block-dirty-bitmap-merge', data: { node, target: into, bitmaps: from } },
    ...from.map((name) => removal(node, name)),
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

/** Undefined: the writes since it was disabled are in no bitmap. */
function mergeBack(
  { node }: BitmapState,
  bitmap: Own,
  others: readonly Own[],
): Pick<BitmapPlan, 'repairs' | 'repaired'> | undefined {
  const sound = others.filter(isSound);
  if (!sound.some(({ recording }) => recording)) return undefined;
  const from = sound.map(({ name }) => name);
  return {
    repairs: mergeActions(node, { into: bitmap.name, from }),
    repaired: 'a backup was killed before its commit: its bitmap was merged back',
  };
}

function reasonAgainst(
  own: readonly Own[],
  state: BitmapState & { readonly bases: readonly TrackingBase[] },
): string {
  const points = new Map(state.bases.map((base) => [base.point, base]));
  const known = own.filter(({ point }) => points.has(point));
  if (own.some(({ inconsistent }) => inconsistent === true)) {
    return 'QEMU or its host was killed while the bitmap was in use: it cannot be trusted';
  }
  for (const { point } of known) {
    const difference = fingerprintDifference(points.get(point)?.fingerprint, state.fingerprint);
    if (difference !== undefined) return difference;
  }
  if (known.some(({ busy }) => busy)) return 'the bitmap is in use by another program';
  if (known.length > 0) return 'the bitmap is disabled, and nothing counted since';
  if (own.length > 0)
    return `the bitmap counts from point ${own[0]!.point}, which has expired or is of another item`;
  return state.persists
    ? 'the image has no bitmap of this repository: QEMU or its host was killed before it was saved, or ' +
        'the image was replaced, or "vm untrack" removed it'
    : 'a bitmap of this image lives only as long as QEMU, which was started anew since the last point';
}
