/**
 * What the owner sets, in `settings.json` of the data folder: the names and units of `ServiceSettings`. Read when the
 * service starts.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { HoldfastError } from '#base';
import type { ServiceSettings } from './service-settings.ts';

const DAY_MS = 86_400_000;

const count = z.int().min(1).max(1_000_000).exactOptional();
const duration = (leastMs: number, mostMs: number) =>
  z.int().min(leastMs).max(mostMs).exactOptional();
const quota = z.int().min(0).exactOptional();

const FILE = z.strictObject({
  snapshotsPerHost: count,
  backupsAtOnce: count,
  transfersPerVault: count,
  restoresPerStorageAccount: count,
  bootsPerStorageAccount: count,
  exportsAtOnce: count,
  spreadMs: duration(0, DAY_MS),
  backupTimeoutMs: duration(60_000, 90 * DAY_MS),
  attempts: count,
  retryDelayMs: duration(0, DAY_MS),
  repositoryIdleMs: duration(0, DAY_MS),
  hostTimeoutMs: duration(1000, DAY_MS),
  discoveryIntervalMs: duration(1000, DAY_MS),
  expiryIntervalMs: duration(1000, DAY_MS),
  dstFollowsAzure: z.boolean().exactOptional(),
  cancelOnlyInSnapshot: z.boolean().exactOptional(),
  guestLoad: z
    .strictObject({
      mostShare: z.number().min(0).max(1),
      waitMs: z.int().min(0).max(DAY_MS),
    })
    .exactOptional(),
  quotas: z
    .strictObject({
      vaultsPerSubscription: quota,
      policiesPerVault: quota,
      policyChangesPerDay: quota,
      vmsPerVault: quota,
      itemsPerVault: quota,
      vmsPerPolicy: quota,
      protectionChangesPerDay: quota,
      onDemandBackupsPerDay: quota,
      minimumCores: quota,
      minimumMemoryBytes: quota,
    })
    .exactOptional(),
  mail: z
    .strictObject({
      smtp: z.url({ protocol: /^smtps?$/, error: 'it is no address as smtp://host:587' }),
      from: z.email(),
      to: z.array(z.email()).min(1),
    })
    .exactOptional(),
  chargeLookMs: duration(1000, DAY_MS),
  halfSizeIfCrashConsistent: z.boolean().exactOptional(),
});

/** @throws {HoldfastError} `SettingsInvalid` naming the file, what is wrong in it, and what it may be. */
export async function readSettings(path: string): Promise<Partial<ServiceSettings>> {
  const text = await textOf(path);
  if (text === undefined) return {};
  const parsed = FILE.safeParse(jsonOf(path, text));
  if (!parsed.success) {
    const faults = parsed.error.issues.map(faultOf);
    throw invalid(path, faults.join('; '));
  }
  return parsed.data;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw invalid(path, `it cannot be read: ${String(error)}`, error);
  }
}

function jsonOf(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(path, `it is no JSON: ${(error as Error).message}`, error);
  }
}

function faultOf({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

function invalid(path: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('SettingsInvalid', `${path}: ${why}`, { cause, details: { path } });
}
