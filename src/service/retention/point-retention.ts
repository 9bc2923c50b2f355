/**
 * What is remembered of a recovery point for its retention (decision 0011): facts only; its dates are computed by
 * plan.ts. Kept as JSON in the catalogue and in the item's document.
 */
import { z } from 'zod';

/** Longest last. `instant`: of an hourly day, not its last point (R10, R19). */
export const TAG_CLASSES = ['instant', 'daily', 'weekly', 'monthly', 'yearly'] as const;

const TAG = z.strictObject({
  class: z.enum(TAG_CLASSES),
  /** What its rule had promised when the policy went; ms. Counts where no policy says a date. */
  until: z.number().optional(),
});

export const POINT_RETENTION = z.strictObject({
  /** When the scheduled run was due whose point it is; ms. Absent: of none. */
  runAt: z.number().optional(),
  /** In the order of `TAG_CLASSES`; none: it is kept by the schedule's own class. */
  tags: z.array(TAG),
  isPinned: z.boolean().optional(),
  /** Not before that instant does it expire. */
  extendedTo: z.number().optional(),
  /** Soft-deleted, and until when (R24, R58). */
  lost: z.strictObject({ until: z.number(), by: z.enum(['policy', 'hand']) }).optional(),
});

export type TagClass = (typeof TAG_CLASSES)[number];
export type Tag = Readonly<z.infer<typeof TAG>>;
export type PointRetention = {
  readonly runAt?: number | undefined;
  readonly tags: readonly Tag[];
  readonly isPinned?: boolean | undefined;
  readonly extendedTo?: number | undefined;
  readonly lost?: { readonly until: number; readonly by: 'policy' | 'hand' } | undefined;
};

export const UNTAGGED: PointRetention = { tags: [] };

/** @param json null: of a point that was recorded before anything was remembered. */
export function retentionFromJson(json: string | null): PointRetention {
  return json === null ? UNTAGGED : POINT_RETENTION.parse(JSON.parse(json));
}

export function retentionToJson(retention: PointRetention): string {
  return JSON.stringify(POINT_RETENTION.parse(retention));
}
