/** What the service does by itself, again and again, until it closes. */
import { pause } from '#base';
import { runSchedule } from './backing-up/scheduler.ts';
import { readCharges } from './charges/read-charges.ts';
import { compactVaults } from './compaction/compact-vaults.ts';
import { expireVaults } from './expiring/start-expiry.ts';
import { discoverAll } from './hosts/discovery.ts';
import { purgeEnded } from './items/purge.ts';
import { forgetOldJobs } from './jobs/forget-old-jobs.ts';
import type { ServiceParts } from './service-parts.ts';
import { sendNotices } from './notices/send-notices.ts';
import { purgeVaults } from './vaults/purge-vaults.ts';
import { reachAgain } from './vaults/reach-again.ts';

const PURGE_MS = 60_000;
const COMPACTION_LOOK_MS = 10 * 60_000;
const NOTICE_MS = 60_000;
const FORGET_MS = 60 * 60_000;

async function endSoftDelete(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  await purgeEnded(parts);
  await purgeVaults(parts, signal);
}

/** Runs until aborted; done when everything has ended. */
export async function runInBackground(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  const again = async (
    everyMs: number,
    what: string,
    work: (parts: ServiceParts, signal: AbortSignal) => Promise<void>,
  ): Promise<void> => {
    while (!signal.aborted) {
      try {
        await work(parts, signal);
      } catch (error) {
        parts.log.error({ error: String(error) }, `${what} failed; it is tried again`);
      }
      await pause(parts.clock, everyMs, signal);
    }
  };
  /** What goes by the date of the clock. */
  const byDate =
    (work: (parts: ServiceParts, signal: AbortSignal) => Promise<void>): typeof work =>
    async (of, stop) => {
      if (!(await of.clockRest.rests())) await work(of, stop);
    };
  await Promise.all([
    runSchedule(parts, signal),
    reachAgain(parts, signal),
    again(parts.settings.discoveryIntervalMs, 'listing VMs', discoverAll),
    again(parts.settings.expiryIntervalMs, 'expiring recovery points', byDate(expireVaults)),
    again(parts.settings.chargeLookMs, 'reading charges', readCharges),
    again(PURGE_MS, 'ending soft delete', byDate(endSoftDelete)),
    ...(parts.settings.mail === undefined
      ? []
      : [again(NOTICE_MS, 'mailing of deleted data', sendNotices)]),
    again(FORGET_MS, 'forgetting old jobs', byDate(forgetOldJobs)),
    again(COMPACTION_LOOK_MS, 'compaction', compactVaults),
  ]);
}
