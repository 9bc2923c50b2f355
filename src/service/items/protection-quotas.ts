/** Azure's quotas of protection (R1, R6), where the settings have them. */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { HostVm } from '../hosts/vms.ts';
import type { VaultPolicy } from '../policies/policies.ts';
import { checkQuota, checkVmSize } from '../policy/quotas.ts';
import type { ServiceParts } from '../service-parts.ts';
import type { Item } from './items.ts';

const DAY_MS = 86_400_000;

export type ToProtect = {
  readonly vaultId: string;
  /** Undefined: it is protected already, and may be gone. */
  readonly vm: Pick<HostVm, 'facts'> | undefined;
  /** Undefined: none is known yet. */
  readonly policy: Pick<VaultPolicy, 'id' | 'itemCount'> | undefined;
  /** As it is; undefined: the vault does not know the VM yet. */
  readonly item: Pick<Item, 'state' | 'policyId'> | undefined;
};

/**
 * Before a VM is protected, resumed, or given another policy; exact in the turn of the vault.
 *
 * @throws {HoldfastError} `UserErrorQuotaExceeded`
 */
export async function requireProtectionQuotas(
  { catalogue, clock, settings }: Pick<ServiceParts, 'catalogue' | 'clock' | 'settings'>,
  { vaultId, vm, policy, item }: ToProtect,
): Promise<void> {
  const { quotas } = settings;
  const { read } = catalogue;
  if (quotas.protectionChangesPerDay !== undefined) {
    const used = await changesSince(read, vaultId, clock.nowMs() - DAY_MS);
    checkQuota(quotas, 'protectionChangesPerDay', used);
  }
  if (item === undefined) checkQuota(quotas, 'itemsPerVault', await itemsOf(read, vaultId));
  if (item?.state !== 'Protected' && item?.state !== 'IRPending') {
    if (vm !== undefined) checkVmSize(quotas, vm.facts);
    checkQuota(quotas, 'vmsPerVault', await itemsOf(read, vaultId, ['IRPending', 'Protected']));
  }
  if (policy !== undefined && policy.id !== item?.policyId) {
    checkQuota(quotas, 'vmsPerPolicy', policy.itemCount);
  }
}

/** How many in the vault, soft-deleted ones included, or of those states. */
async function itemsOf(
  reader: CatalogueReader,
  vaultId: string,
  states?: readonly Item['state'][],
): Promise<number> {
  let query = reader
    .selectFrom('items')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('vaultId', '=', vaultId);
  if (states !== undefined) query = query.where('state', 'in', states);
  return (await query.executeTakeFirstOrThrow()).count;
}

/** VMs that were protected, resumed, or given something else since then. */
async function changesSince(
  reader: CatalogueReader,
  vaultId: string,
  since: number,
): Promise<number> {
  const { count } = await reader
    .selectFrom('jobs')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('vaultId', '=', vaultId)
    .where('createdAt', '>', since)
    .where('operation', '=', 'ConfigureBackup')
    .executeTakeFirstOrThrow();
  return count;
}
