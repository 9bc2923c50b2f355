/** What a Restore job was asked for (R67). */
import { z } from 'zod';

const ACCOUNT = z.strictObject({ group: z.string(), name: z.string() });
/** Absent: all disks. The system disk is always with them (R73). */
const LUNS = z.array(z.int().min(0)).optional();

const REQUEST = z.discriminatedUnion('kind', [
  /** Images and the VM's definition, into the account's folder. */
  z.strictObject({ kind: z.literal('disks'), point: z.string(), account: ACCOUNT, luns: LUNS }),
  /** A VM of another name, its images in the account's folder. */
  z.strictObject({
    kind: z.literal('new-vm'),
    point: z.string(),
    account: ACCOUNT,
    luns: LUNS,
    /** The host that it is made on. */
    hostKey: z.string(),
    vmName: z.string(),
    /** Absent: not plugged in anywhere. */
    network: z.string().optional(),
    starts: z.boolean(),
  }),
  /** The disks of the VM that is there, which is off (R68); its old images stay. */
  z.strictObject({
    kind: z.literal('replace'),
    point: z.string(),
    account: ACCOUNT,
    luns: LUNS,
  }),
]);

/** Property of a job that met other restores at its account, until its turn comes (M38). */
export const LOAD = 'Storage account load';

export type RestoreRequest = Readonly<z.infer<typeof REQUEST>>;

export function restoreRequestFromJson(json: string): RestoreRequest {
  return REQUEST.parse(JSON.parse(json));
}
