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

export function lastBackupFromJson(json: string): LastBackup {
  return LAST.parse(JSON.parse(json));
}
