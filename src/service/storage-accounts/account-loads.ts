/** How loaded storage accounts are, which of them a restore takes, and what is said of a loaded one (M38). */
import { statfs } from 'node:fs/promises';
import { z } from 'zod';
import { nameKey } from '../names.ts';
import type { ServiceParts } from '../service-parts.ts';
import { listStorageAccounts, type StorageAccount } from './storage-accounts.ts';

export type AccountLoad = {
  readonly account: StorageAccount;
  /** Restore jobs that have not ended: they run, or wait. */
  readonly restores: number;
  /** Restores that run at once there; more wait. */
  readonly atOnce: number;
  /** InstantBoot jobs that have not ended; they have a queue of their own. */
  readonly boots: number;
  /** Undefined: its folder cannot be used. */
  readonly freeBytes: number | undefined;
};

/** An account that a restore may go to. */
export type Candidate = AccountLoad & {
  /** Whether it has room for the restore, and for what is still to be written there. */
  readonly fits: boolean;
};

const REQUEST = z.object({ account: z.object({ name: z.string() }) });

/** By name, as `listStorageAccounts`. */
export async function accountLoads(
  { catalogue, settings }: Pick<ServiceParts, 'catalogue' | 'settings'>,
  group?: string,
): Promise<readonly AccountLoad[]> {
  const accounts = await listStorageAccounts(catalogue.read, group);
  const jobs = await catalogue.read
    .selectFrom('jobs')
    .select(['operation', 'request'])
    .where('endedAt', 'is', null)
    .where('operation', 'in', ['Restore', 'InstantBoot'])
    .execute();
  const open = jobs.map(({ operation, request }) => ({
    operation,
    key: nameKey(REQUEST.parse(JSON.parse(request)).account.name),
  }));
  return await Promise.all(
    accounts.map(async (account) => {
      const own = open.filter(({ key }) => key === nameKey(account.name));
      const restores = own.filter(({ operation }) => operation === 'Restore').length;
      return {
        account,
        restores,
        atOnce: account.restoresAtOnce ?? settings.restoresPerStorageAccount,
        boots: own.length - restores,
        freeBytes: await freeIn(account.path),
      };
    }),
  );
}

async function freeIn(path: string): Promise<number | undefined> {
  const found = await statfs(path).catch(() => undefined); // Its disk is not mounted.
  return found === undefined ? undefined : found.bavail * found.bsize;
}

export function isIdle({ restores, boots }: AccountLoad): boolean {
  return restores + boots === 0;
}

/**
 * Of those with room the one with the fewest jobs, of these the one with the most free room; where none has room, the
 * one with the most: what it lacks is told when the restore is refused. Undefined: there are none.
 */
export function chooseAccount(candidates: readonly Candidate[]): Candidate | undefined {
  const fitting = candidates.filter(({ fits }) => fits);
  const jobs = ({ restores, boots }: Candidate) => (fitting.length === 0 ? 0 : restores + boots);
  const free = ({ freeBytes = -1 }: Candidate) => freeBytes;
  const choosable = fitting.length === 0 ? candidates : fitting;
  return choosable.toSorted((a, b) => jobs(a) - jobs(b) || free(b) - free(a))[0];
}

/** In words, what a restore to a loaded account meets, and which one is idle; undefined: no restore is there. */
export function warnOfLoad(
  { account, restores, atOnce }: AccountLoad,
  idle: AccountLoad | undefined,
): string | undefined {
  if (restores === 0) return undefined;
  const those = restores === 1 ? '1 restore' : `${restores} restores`;
  const are = restores === 1 ? 'is' : 'are';
  const meets =
    restores >= atOnce
      ? `a restore there waits behind ${those}, of which ${atOnce} may run at once`
      : `${those} ${are} under way there already`;
  const other = idle === undefined ? '' : `; '${idle.account.name}' is idle and has room`;
  return `The storage account '${account.name}' is loaded: ${meets}${other}.`;
}
