/** Microsoft.RecoveryServices/vaults: how much is in a vault, in Azure's counters; security PINs, of which there are none. */
import { z } from 'zod';
import { getVault, listItems, listJobs, vaultCharges, type Item, type Service } from '#service';
import { parseFilter } from '../frame/filter.ts';
import { Refusal } from '../frame/refusal.ts';
import { ok, route, VAULT, vaultOf } from '../frame/route.ts';
import { refuseUnsupported } from '../frame/wire.ts';
import { health } from '../items/item-wire.ts';
import { monthOf } from '../holdfast/charges-wire.ts';

const SUMMARIES = {
  backupprotecteditemcountsummary: 'Protected items',
  backupprotectioncontainercountsummary: 'Protection containers',
} as const;

const DAY_MS = 86_400_000;

export const vaultUsageRoutes = [
  route({
    method: 'GET',
    path: `${VAULT}/backupUsageSummaries`,
    summary: 'Counts what a vault protects',
    handle: async (request) => {
      const { service, params, query } = request;
      const filter = parseFilter(query.get('$filter'), ['type']);
      const type = filter.get('type') ?? 'BackupProtectedItemCountSummary';
      const what = SUMMARIES[type.toLowerCase() as keyof typeof SUMMARIES] as string | undefined;
      if (what === undefined) {
        throw new Refusal('InvalidFilter', `The $filter is not valid: there is no '${type}'.`);
      }
      const items = await listItems(service.catalogue.read, vaultOf(params));
      // An item has a container of its own.
      return ok({ value: [usage('AzureIaasVM', `${what}: virtual machines`, items.length)] });
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/usages`,
    summary: 'Tells how much is in a vault',
    handle: async ({ service, params }) => ok({ value: await usagesOf(service, vaultOf(params)) }),
  }),
  route({
    method: 'POST',
    path: `${VAULT}/backupSecurityPIN`,
    summary: 'Refuses a security PIN, which no operation here needs',
    body: z.looseObject({}),
    isBodyOptional: true,
    handle: async ({ service, params }) => {
      await getVault(service.catalogue.read, vaultOf(params));
      refuseUnsupported(true, 'No operation needs a security PIN, and getting one is');
      return { status: 400 };
    },
  }),
];

/** Azure's counters, those that have a meaning here; storage is that of the newest daily reading. */
async function usagesOf(
  { catalogue, clock }: Service,
  name: { readonly group: string; readonly name: string },
) {
  const { read } = catalogue;
  const now = clock.nowMs();
  const items = await listItems(read, name);
  const critical = items.filter((item) => health(item).healthStatus === 'ActionRequired').length;
  const { id } = await getVault(read, name);
  const jobs = await listJobs(read, id, { from: now - DAY_MS, to: now });
  const withStatus = (status: string): number => jobs.filter((job) => job.status === status).length;
  const { newest } = await vaultCharges(read, name, monthOf(now));
  const instances = items.filter(isInstance).length;
  return [
    usage('ProtectedItemCount', 'Backup items/Azure virtual machine backup', items.length),
    usage('ProtectedItemCriticalCount', 'Critical', critical),
    usage('ProtectedItemWarningCount', 'Warning', 0),
    usage('IaaSVMProtectedItemCount', 'Azure Virtual Machines', items.length),
    usage('IaaSVMProtectedItemCriticalCount', 'Critical', critical),
    usage('IaaSVMProtectedItemWarningCount', 'Warning', 0),
    {
      ...usage('InProgressJobsCount', 'In progress', withStatus('InProgress')),
      quotaPeriod: 'P1D',
    },
    { ...usage('FailedJobsCount', 'Failed', withStatus('Failed')), quotaPeriod: 'P1D' },
    { ...usage('GRSStorageUsage', 'Cloud - GRS', 0), unit: 'Bytes' },
    { ...usage('LRSStorageUsage', 'Cloud - LRS', newest?.ownedBytes ?? 0), unit: 'Bytes' },
    usage('ManagedInstances', 'Protected Instances', instances),
  ];
}

/** R75: from the first successful backup on. */
function isInstance({ state, lastBackup }: Item): boolean {
  return lastBackup?.pointAt !== undefined && state !== 'SoftDeleted';
}

function usage(value: string, localizedValue: string, currentValue: number) {
  return { unit: 'Count', currentValue, limit: -1, name: { value, localizedValue } };
}
