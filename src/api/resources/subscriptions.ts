/** Microsoft.Resources: the one subscription, its tenant, its location, and which providers there are. */
import { ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { listAnswer } from '../frame/paging.ts';
import { Refusal } from '../frame/refusal.ts';
import { LOCATION } from '../frame/wire.ts';
import { subscriptionId } from '../ids.ts';

const NAME = 'Holdfast';

const PROVIDERS: Readonly<Record<string, readonly string[]>> = {
  'Holdfast.Backup': ['hosts', 'storageAccounts', 'vaults', 'servicePrincipals'],
  'Microsoft.Compute': ['virtualMachines'],
  'Microsoft.Network': ['virtualNetworks'],
  'Microsoft.RecoveryServices': ['vaults'],
  'Microsoft.Resources': ['subscriptions', 'resourceGroups'],
  'Microsoft.Storage': ['storageAccounts'],
};

export const subscriptionRoutes = [
  route({
    method: 'GET',
    path: '/subscriptions',
    summary: 'Lists the one subscription',
    handle: async (request) => listAnswer(request, [subscription(request)]),
  }),
  route({
    method: 'GET',
    path: SUBSCRIPTION,
    summary: 'Shows the subscription',
    handle: async (request) => ok(subscription(request)),
  }),
  route({
    method: 'GET',
    path: '/tenants',
    summary: 'Lists the one tenant',
    handle: async (request) => {
      const { tenantId } = request.access;
      const tenant = { id: `/tenants/${tenantId}`, tenantId, displayName: NAME };
      return listAnswer(request, [tenant]);
    },
  }),
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/locations`,
    summary: 'Lists the one location',
    handle: async (request) => {
      const id = `${subscriptionId(request)}/locations/${LOCATION}`;
      const names = { displayName: 'Local', regionalDisplayName: 'Local' };
      return listAnswer(request, [{ id, name: LOCATION, type: 'Region', ...names }]);
    },
  }),
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/providers`,
    summary: 'Lists the resource providers',
    handle: async (request) =>
      listAnswer(
        request,
        Object.keys(PROVIDERS).map((namespace) => provider(request, namespace)),
      ),
  }),
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/providers/{provider}`,
    summary: 'Shows a resource provider',
    handle: async (request) => {
      const wanted = request.params.provider.toLowerCase();
      const namespace = Object.keys(PROVIDERS).find((name) => name.toLowerCase() === wanted);
      if (namespace !== undefined) return ok(provider(request, namespace));
      throw new Refusal(
        'PathNotFound',
        `There is no resource provider '${request.params.provider}'.`,
      );
    },
  }),
];

function subscription(site: Site) {
  const { subscriptionId: id, tenantId } = site.access;
  return {
    id: subscriptionId(site),
    subscriptionId: id,
    tenantId,
    displayName: NAME,
    state: 'Enabled',
    subscriptionPolicies: {
      locationPlacementId: 'Public_2014-09-01',
      quotaId: 'PayAsYouGo_2014-09-01',
      spendingLimit: 'Off',
    },
    authorizationSource: 'RoleBased',
    managedByTenants: [],
  };
}

function provider(site: Site, namespace: string) {
  const types = PROVIDERS[namespace] ?? [];
  return {
    id: `${subscriptionId(site)}/providers/${namespace}`,
    namespace,
    registrationState: 'Registered',
    registrationPolicy: 'RegistrationFree',
    resourceTypes: types.map((resourceType) => ({
      resourceType,
      locations: [LOCATION],
      apiVersions: [],
    })),
  };
}
