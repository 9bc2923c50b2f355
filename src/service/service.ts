/**
 * The service on one data folder.
 *
 * ```
 *   lock ─► master key ─► catalogue ─► what the repositories remember ─► jobs, schedule, discovery ─► open
 *   close: no new work, running jobs are given back, repositories closed, catalogue closed, unlocked
 * ```
 */
import type { Clock } from '#base';
import { inScratch, type Caller } from '#backup';
import { openMasterKey } from '#keyvault';
import { backupWork } from './backing-up/backup-work.ts';
import { bootWork } from './booting/boot-work.ts';
import { runInBackground } from './background.ts';
import { openCatalogue } from './catalogue/catalogue.ts';
import { groupBackupWork } from './consistency-groups/group-backup-work.ts';
import { lockDataFolder } from './data-folder/data-folder.ts';
import { exportWork } from './exporting/export-work.ts';
import { unknownMachine, watchClock } from './expiring/clock-rest.ts';
import type { MachineTime } from './expiring/clock-trust.ts';
import { expireWork } from './expiring/expire-work.ts';
import { connectHosts } from './hosts/connect-hosts.ts';
import { deleteDataWork } from './items/delete-data-work.ts';
import type { JobWorks } from './jobs/job-runner.ts';
import { openJobRunner } from './jobs/open-job-runner.ts';
import { endAbandonedOperations, watchUnderway } from './operations/begin-operation.ts';
import type { ServiceLog } from './record-parts.ts';
import { openRepositories } from './repositories/repository-pool.ts';
import { restoreWork } from './restoring/restore-work.ts';
import type { ServiceParts } from './service-parts.ts';
import { DEFAULT_SETTINGS, type ServiceSettings } from './service-settings.ts';
import { readSettings } from './settings-file.ts';
import { takeTurns } from './turns.ts';
import { verifyWork } from './verifying/verify-work.ts';
import { takeOver } from './vaults/reach-again.ts';
import { onlyReachable, vaultReach } from './vaults/vault-reach.ts';
import { repositoryIdOf } from './vaults/vault-rows.ts';

export type ServiceOptions = {
  readonly data: string;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  readonly version: string;
  readonly process: Caller['process'];
  readonly log: ServiceLog;
  /** Before those of the data folder's `settings.json`. */
  readonly settings?: Partial<ServiceSettings>;
  /** Absent: not known. */
  readonly machine?: MachineTime;
};

export type Service = ServiceParts & {
  /** Ends everything; running jobs go on at the next start. Idempotent. */
  readonly close: () => Promise<void>;
};

/**
 * @throws {HoldfastError} `DataFolderHeld`, `SettingsInvalid`, `MasterKeyWrong`, `CatalogueUnusable`; `StoreReadOnly`,
 *   `StoreUnsupported` for the folder.
 */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { clock, random, version, process, log } = options;
  const holder = { ...process, sinceMs: clock.nowMs() };
  const folder = await lockDataFolder(options.data, holder);
  const warn = (message: string): void => log.warn({}, message);
  const caller = { clock, random, version, warn, process };
  const opened: { readonly close: () => Promise<void> }[] = [];
  try {
    const own = await readSettings(folder.settings);
    const settings = { ...DEFAULT_SETTINGS, ...own, ...options.settings };
    const masterKey = await openMasterKey(folder.masterKey, { random, mayCreate: true });
    const catalogue = await openCatalogue(folder.catalogue);
    opened.unshift(catalogue);
    const records = { catalogue, clock, random, settings, log };
    const pool = { clock, settings, masterKey, vaults: folder.vaults, caller };
    const all = openRepositories({
      ...pool,
      repositoryIdOf: async (vaultId) => await repositoryIdOf(catalogue.read, vaultId),
    });
    opened.unshift(all);
    const reach = vaultReach(all);
    const repositories = onlyReachable({ catalogue, reach });
    const jobs = openJobRunner(records);
    const parts: ServiceParts = {
      ...records,
      dataFolder: folder,
      masterKey,
      caller,
      turns: takeTurns(),
      underway: watchUnderway(),
      repositories,
      reach,
      hosts: connectHosts(records),
      jobs,
      clockRest: watchClock(records, options.machine ?? unknownMachine(clock)),
    };
    await parts.clockRest.rests();
    await takeOver(parts);
    await inScratch(folder.scratch, async () => undefined); // Removes what killed ones left.
    await endAbandonedOperations(parts);
    await jobs.start(worksOf(parts));
    const closing = new AbortController();
    const background = runInBackground(parts, closing.signal);
    let closed: Promise<void> | undefined;
    const end = async (): Promise<void> => {
      closing.abort();
      await background;
      await parts.underway.ended();
      await jobs.stop();
      await repositories.close();
      await catalogue.close();
      folder.release();
    };
    return { ...parts, close: async () => await (closed ??= end()) };
  } catch (error) {
    for (const one of opened) await one.close();
    folder.release();
    throw error;
  }
}

function worksOf(parts: ServiceParts): JobWorks {
  return {
    Backup: backupWork(parts),
    GroupBackup: groupBackupWork(parts),
    DeleteBackupData: deleteDataWork(parts),
    ExportDisks: exportWork(parts),
    InstantBoot: bootWork(parts),
    Expire: expireWork(parts),
    Restore: restoreWork(parts),
    Verify: verifyWork(parts),
  };
}
