/**
 * What people are told of backup data that goes (R58): when it was soft-deleted, two days before its end, and when it has
 * gone. What was told is remembered, so that each is told once; what was undeleted is forgotten.
 *
 * ```
 *   soft-deleted ─► told: deleted ── two days before its end ─► told: ends soon ── its end ─► told: gone
 *                        └──────── undeleted: nothing more ──────────┘
 * ```
 */
const DAY_MS = 86_400_000;
/** Azure's day 12 of 14. */
const SOON_MS = 2 * DAY_MS;

/** What is soft-deleted: of a VM the points, or a vault. */
export type SoftDeleted = {
  readonly id: string;
  readonly vaultId: string;
  /** `VM lab/web, vault lab/v1` */
  readonly what: string;
  readonly deletedAt: number;
  readonly purgeAt: number;
};

export type Told = SoftDeleted & { readonly stage: Stage };

type Stage = 'deleted' | 'soon';

export type Notice = {
  readonly about: 'deleted' | 'soon' | 'gone';
  readonly of: SoftDeleted;
};

export type NoticePlan = {
  readonly notices: readonly Notice[];
  /** What is remembered from then on, instead of `told`. */
  readonly told: readonly Told[];
};

/**
 * @param now what is soft-deleted; `nowMs`.
 * @param isAway whether all of its vault is out of sight: soft-deleted itself.
 */
export function planNotices(
  told: readonly Told[],
  now: {
    readonly deleted: readonly SoftDeleted[];
    readonly nowMs: number;
    readonly isAway: (vaultId: string) => boolean;
  },
): NoticePlan {
  const notices: Notice[] = [];
  const after: Told[] = [];
  const known = new Map(told.map((one) => [keyOf(one), one]));
  for (const of of now.deleted) {
    const before = known.get(keyOf(of));
    known.delete(keyOf(of));
    const isSoon = now.nowMs >= of.purgeAt - SOON_MS;
    if (before === undefined) notices.push({ about: 'deleted', of });
    else if (isSoon && before.stage === 'deleted') notices.push({ about: 'soon', of });
    after.push({ ...of, stage: before !== undefined && isSoon ? 'soon' : 'deleted' });
  }
  for (const of of known.values()) {
    if (of.id !== of.vaultId && now.isAway(of.vaultId)) after.push(of);
    else if (of.purgeAt <= now.nowMs) notices.push({ about: 'gone', of });
  }
  return { notices, told: after };
}

/** Deleted again is another deletion. */
function keyOf({ id, deletedAt }: SoftDeleted): string {
  return `${id} ${deletedAt}`;
}
