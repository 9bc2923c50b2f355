/** What a Backup job was asked for. */
import { z } from 'zod';
import type { Row } from '../catalogue/schema.ts';

const REQUEST = z.strictObject({
  origin: z.enum(['scheduled', 'on-demand']),
  /** Of an on-demand one: the date that was asked for (R20). */
  expiresAt: z.number().optional(),
});

export type BackupRequest = Readonly<z.infer<typeof REQUEST>>;

export function backupRequestOf({ request }: Pick<Row<'jobs'>, 'request'>): BackupRequest {
  return REQUEST.parse(JSON.parse(request));
}
