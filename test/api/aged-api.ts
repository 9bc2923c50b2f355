/** The API on a VM whose days pass when a test says so (aged-vm.ts): requests without a network, signed in anew. */
import type { TestContext } from 'node:test';
import { createPrincipal, openAccess } from '#service';
import { buildApp, DEFAULT_LIMITS } from '../../src/api/frame/build-app.ts';
import { ROUTES } from '../../src/api/routes.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { agedVm, type AgedOptions } from '../../src/service/testing/aged-vm.ts';
import { GROUP, VAULT } from '../../src/service/testing/test-service.ts';

const UNLIMITED = { burst: 1e9, perSecond: 1e9 };
const TOKEN_MS = 600_000;
const VM = `iaasvmcontainerv2;${GROUP};web`;

export type AgedApi = Awaited<ReturnType<typeof agedApi>>;

export async function agedApi(t: TestContext, options: AgedOptions = {}) {
  const vm = await agedVm(t, options);
  const { service } = vm;
  const access = await openAccess(service);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const limits = { ...DEFAULT_LIMITS, perAccount: UNLIMITED, perAddress: UNLIMITED };
  const app = buildApp({
    service,
    access,
    hasManagedIdentity: false,
    log,
    routes: ROUTES,
    limits,
  });
  t.after(async () => await app.close());
  const { clientId, clientSecret } = await createPrincipal(service, 'tester');
  const group = `/subscriptions/${access.subscriptionId}/resourceGroups/${GROUP}`;
  const vault = `${group}/providers/Microsoft.RecoveryServices/vaults/${VAULT.name}`;
  const item = `${vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${VM}/protectedItems/VM;${VM}`;
  let token = '';
  let tokenAt = -Infinity;
  // Time may have been moved since the last one; each costs a hash that is slow on purpose.
  const getToken = async (): Promise<string> => {
    const now = service.clock.nowMs();
    if (Math.abs(now - tokenAt) < TOKEN_MS) return token;
    const signIn = { clientId, clientSecret, address: '127.0.0.1' };
    const audience = 'https://management.azure.com';
    ({ token } = await access.signIn({ ...signIn, audience }));
    tokenAt = now;
    return token;
  };
  /** @param path below the resource group, or whole. */
  const call = async (
    method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH',
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly body: AnyJson }> => {
    const [url, query = ''] = path.split('?');
    const answer = await app.inject({
      method,
      url: `${url}?${query === '' ? '' : `${query}&`}api-version=2023-06-01`,
      headers: {
        host: 'localhost:8443',
        authorization: `Bearer ${await getToken()}`,
        'content-type': 'application/json',
      },
      ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
    });
    const { statusCode: status, payload } = answer;
    return { status, body: payload === '' ? undefined : JSON.parse(payload) };
  };
  const own = (path: string): string =>
    path.replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
  return { vm, call, vault, item, ownVault: own(vault), ownItem: own(item) };
}
