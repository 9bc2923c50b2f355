/** What an InstantBoot job was asked for. */
import { z } from 'zod';

const REQUEST = z.strictObject({
  point: z.string(),
  account: z.strictObject({ group: z.string(), name: z.string() }),
  /** The host that it is made on. */
  hostKey: z.string(),
  vmName: z.string(),
  /** Names of disks; absent: all. */
  disks: z.array(z.string()).optional(),
  /** Absent: not plugged in anywhere. */
  network: z.string().optional(),
  /** Discarded in the end, and never moved to disks of its own. */
  isTrial: z.boolean(),
  /** Of this job alone, in the account's folder: the overlays, later the disks. */
  directory: z.string(),
});

export type BootRequest = Readonly<z.infer<typeof REQUEST>>;

export function bootRequestFromJson(json: string): BootRequest {
  return REQUEST.parse(JSON.parse(json));
}
