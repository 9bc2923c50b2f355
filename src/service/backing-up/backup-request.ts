/** What a Backup job was asked for. */
import { z } from 'zod';
import type { Row } from '../catalogue/schema.ts';

const REQUEST = z.strictObject({
  origin: z.enum(['scheduled', 'on-demand']),
  /** Of an on-demand one: the date that was asked for (R20). */
  expiresAt: z.number().optional(),
  /** Of a scheduled one: the run whose backup it is; its day decides the point's tags (R17). */
  run: z
    .strictObject({ atMs: z.number(), policyDate: z.string(), isLastOfPolicyDay: z.boolean() })
    .optional(),
});

export type BackupRequest = Readonly<z.infer<typeof REQUEST>>;

export function backupRequestOf({ request }: Pick<Row<'jobs'>, 'request'>): BackupRequest {
  return REQUEST.parse(JSON.parse(request));
}
