/** How the newest backup of an item ended. */
import { z } from 'zod';

const LAST = z.strictObject({
  status: z.enum(['Completed', 'Failed']),
  endedAt: z.number(),
  /** When its newest recovery point was taken; absent: it has none. */
  pointAt: z.number().optional(),
  /** Of the newest successful one (R76): bytes on all disks. */
  sizeBytes: z.number().optional(),
  /** Of a failed one: whether somebody had asked for it (R55). */
  isOnDemand: z.boolean().optional(),
  failure: z.strictObject({ code: z.string(), message: z.string() }).optional(),
});

export type LastBackup = Readonly<z.infer<typeof LAST>>;

/** What is told of it, as JSON, once its item has just these points: the newest one may have gone, or come. */
export function lastBackupWith(
  json: string | null,
  points: readonly { readonly takenAt: number }[],
): string | null {
  if (json === null) return null;
  const { pointAt, ...last } = lastBackupFromJson(json);
  if (points.length === 0) return JSON.stringify(last);
  const newestAt = Math.max(...points.map(({ takenAt }) => takenAt));
  return pointAt === newestAt ? json : JSON.stringify({ ...last, pointAt: newestAt });
}

export function lastBackupFromJson(json: string): LastBackup {
  return LAST.parse(JSON.parse(json));
}
