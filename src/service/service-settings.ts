/**
 * What an owner may set (settings-file.ts); every default is what most want. Azure's quotas and courtesies are off
 * (AZURE-RULES).
 */

import type { GuestLoadLimit } from '#backup';
import type { Quotas } from './policy/quotas.ts';

export type ServiceSettings = {
  /** Snapshots taken at once on one host. */
  readonly snapshotsPerHost: number;
  /** Backups at once on this machine, from the snapshot on: each has threads of its own and some 100 MiB. */
  readonly backupsAtOnce: number;
  /** Transfers at once into one vault. */
  readonly transfersPerVault: number;
  /** Restores at once into one storage account (M22). */
  readonly restoresPerStorageAccount: number;
  /** VMs at once that run from points, with their overlays in one storage account. */
  readonly bootsPerStorageAccount: number;
  /** Points exported over NBD at once. */
  readonly exportsAtOnce: number;
  /** A scheduled run starts within this time of its schedule (R12); 0: at once. */
  readonly spreadMs: number;
  /** R42: an increment that takes longer fails; the first backup has no limit. */
  readonly backupTimeoutMs: number;
  /** Tries of a job whose failure is worth one, the first included. */
  readonly attempts: number;
  readonly retryDelayMs: number;
  /** How long a repository stays open after its last use. */
  readonly repositoryIdleMs: number;
  /** A host that has not listed its VMs by then does not answer. */
  readonly hostTimeoutMs: number;
  /** How often the VMs of every host are listed anew. */
  readonly discoveryIntervalMs: number;
  /** How often expired points are looked for (R31: within 24 h). */
  readonly expiryIntervalMs: number;
  /** R11 */
  readonly dstFollowsAzure: boolean;
  /** R40: a backup whose snapshot has been taken is not cancelled. */
  readonly cancelOnlyInSnapshot: boolean;
  /** R44: a guest above it is waited for before its snapshot; absent: its load does not matter. */
  readonly guestLoad?: GuestLoadLimit | undefined;
  /** R1, R6, R14; absent: as many as are asked for. */
  readonly quotas: Quotas;
  /** Who is told of deleted backup data (R58); absent: nobody. */
  readonly mail?: MailSettings;
  /** How often it is looked whether a day has ended whose charges are to be read. */
  readonly chargeLookMs: number;
  /** R77, Azure's estimate for points without an agent: half of every disk's size. Else what is on it (M26). */
  readonly halfSizeIfCrashConsistent: boolean;
};

type MailSettings = {
  /** `smtp://user:secret@host:587`, or `smtps:` */
  readonly smtp: string;
  readonly from: string;
  readonly to: readonly string[];
};

const MINUTE_MS = 60_000;

/**
 * R44 as Azure has it: above 90 percent of CPU or memory. How long a snapshot waits Azure does not say: 140 minutes are
 * what its extension for Linux gives one from the command to its taking.
 */
export const AZURE_GUEST_LOAD: GuestLoadLimit = { mostShare: 0.9, waitMs: 140 * MINUTE_MS };

export const DEFAULT_SETTINGS: ServiceSettings = {
  snapshotsPerHost: 4,
  backupsAtOnce: 4,
  transfersPerVault: 2,
  restoresPerStorageAccount: 2,
  bootsPerStorageAccount: 4,
  exportsAtOnce: 4,
  spreadMs: 120 * MINUTE_MS,
  backupTimeoutMs: 24 * 60 * MINUTE_MS,
  attempts: 3,
  retryDelayMs: 5 * MINUTE_MS,
  repositoryIdleMs: 10_000,
  hostTimeoutMs: 30_000,
  discoveryIntervalMs: 5 * MINUTE_MS,
  expiryIntervalMs: 4 * 60 * MINUTE_MS,
  dstFollowsAzure: false,
  cancelOnlyInSnapshot: false,
  quotas: {},
  chargeLookMs: 10 * MINUTE_MS,
  halfSizeIfCrashConsistent: false,
};
