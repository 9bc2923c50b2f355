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

/** Of a GroupBackup job. */
const GROUP_REQUEST = z.strictObject({
  backup: REQUEST,
  /** The id of the consistency group, which may be gone. */
  group: z.string(),
  /** Ids of its items when the job was added. */
  members: z.array(z.string()),
});

export function groupBackupOf({
  request,
}: Pick<Row<'jobs'>, 'request'>): Readonly<z.infer<typeof GROUP_REQUEST>> {
  return GROUP_REQUEST.parse(JSON.parse(request));
}

export function backupRequestOf({ request }: Pick<Row<'jobs'>, 'request'>): BackupRequest {
  return REQUEST.parse(JSON.parse(request));
}
