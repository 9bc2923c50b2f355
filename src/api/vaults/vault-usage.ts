/** Microsoft.RecoveryServices/vaults: counts of what a vault protects; security PINs, which there are none of. */
import { z } from 'zod';
import { getVault, listItems } from '#service';
import { parseFilter } from '../frame/filter.ts';
import { Refusal } from '../frame/refusal.ts';
import { ok, route, VAULT, vaultOf } from '../frame/route.ts';
import { refuseUnsupported } from '../frame/wire.ts';

const SUMMARIES = {
  backupprotecteditemcountsummary: 'Protected items',
  backupprotectioncontainercountsummary: 'Protection containers',
} as const;

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
      const name = { value: 'AzureIaasVM', localizedValue: `${what}: virtual machines` };
      const usage = { unit: 'Count', currentValue: items.length, limit: -1, name };
      return ok({ value: [usage] });
    },
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
