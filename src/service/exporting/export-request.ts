/** What an ExportDisks job was asked for. */
import { z } from 'zod';

const REQUEST = z.strictObject({
  point: z.string(),
  disks: z.array(
    z.strictObject({ name: z.string(), /** Absent: the system disk. */ lun: z.int().optional() }),
  ),
  /** Counted from when it is served first. */
  minutes: z.int(),
});

export type ExportRequest = Readonly<z.infer<typeof REQUEST>>;

export function exportRequestFromJson(json: string): ExportRequest {
  return REQUEST.parse(JSON.parse(json));
}
