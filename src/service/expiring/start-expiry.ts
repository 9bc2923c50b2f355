/** How Expire jobs come to be: by a look at every vault again and again (R31), or by hand. */
import { noteActivity, noteItemActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { getItem, type VmName } from '../items/items.ts';
import type { Accepted } from '../items/protect.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';
import { expirablePoints } from './expirable-points.ts';
import type { ExpireRequest } from './expire-work.ts';

/** Adds a job for each vault that has something to expire and none that is about to. */
export async function expireVaults(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  const { catalogue, clock } = parts;
  const vaults = await catalogue.read.selectFrom('vaults').select(['id', 'name']).execute();
  for (const vault of vaults) {
    if (signal.aborted) return;
    if (await hasJob(parts, vault.id)) continue;
    const points = await expirablePoints(catalogue.read, vault.id, { now: clock.nowMs() });
    if (points.length === 0) continue;
    await catalogue.change(async (change) => addJob(parts, change, { vault }));
  }
}

/**
 * Expires now what the next look would, of one VM or of all.
 *
 * @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`.
 */
export async function startExpiry(
  parts: ServiceParts,
  name: VaultName,
  vm: VmName | undefined,
): Promise<Accepted> {
  const { read } = parts.catalogue;
  const vault = await getVault(read, name);
  const itemId = vm === undefined ? undefined : (await getItem(read, { vault: name, vm })).id;
  const request: ExpireRequest = itemId === undefined ? {} : { itemId };
  return await parts.catalogue.change(async (change) => {
    await (itemId === undefined
      ? noteActivity(parts, change, { action: 'Expire', target: `${vault.group}/${vault.name}` })
      : noteItemActivity(parts, change, { item: itemId, action: 'Expire' }));
    return { jobId: await addJob(parts, change, { vault, request, isUserTriggered: true }) };
  });
}

/**
 * Within a change: removes one point that was deleted by hand, and no other: the clock may be wrong, and nobody asked for
 * them. @returns the job's id.
 */
export async function addExpiry(
  parts: Pick<ServiceParts, 'jobs'>,
  change: CatalogueChange,
  of: Pick<ExpiryJob, 'vault' | 'isUserTriggered'> & {
    readonly itemId: string;
    readonly point: string;
  },
): Promise<string> {
  const { itemId, point, ...rest } = of;
  return await addJob(parts, change, {
    ...rest,
    request: { itemId, isByHand: true, only: [point] },
  });
}

type ExpiryJob = {
  readonly vault: { readonly id: string; readonly name: string };
  /** Absent: of all items. */
  readonly request?: ExpireRequest;
  readonly isUserTriggered?: boolean;
};

async function addJob(
  { jobs }: Pick<ServiceParts, 'jobs'>,
  change: CatalogueChange,
  { vault, request = {}, isUserTriggered = false }: ExpiryJob,
): Promise<string> {
  return await jobs.add(change, {
    vaultId: vault.id,
    entity: vault.name,
    operation: 'Expire',
    isUserTriggered,
    request,
    claims: [`expire:${vault.id}`],
  });
}

async function hasJob({ catalogue }: ServiceParts, vaultId: string): Promise<boolean> {
  const found = await catalogue.read
    .selectFrom('jobs')
    .select('id')
    .where('vaultId', '=', vaultId)
    .where('operation', '=', 'Expire')
    .where('endedAt', 'is', null)
    .executeTakeFirst();
  return found !== undefined;
}
