/** `/metrics`, as Prometheus reads it: what the catalogue says at this moment; nothing is kept between requests. */
import { Gauge, Registry } from 'prom-client';
import { isHoldfastError } from '#base';
import { countJobs, listHosts, listItems, listVaults, type Service } from '#service';
import { route } from '../frame/route.ts';

export const metricsRoutes = [
  route({
    method: 'GET',
    path: '/metrics',
    summary: 'Tells what Prometheus collects',
    isVersioned: false,
    handle: async ({ service }) => {
      const registry = await metricsOf(service);
      const text = await registry.metrics();
      return { status: 200, stream: { contentType: registry.contentType, parts: once(text) } };
    },
  }),
];

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}

async function metricsOf(service: Service): Promise<Registry> {
  const { read } = service.catalogue;
  const registry = new Registry();
  const gauge = gaugesOf(registry);
  const ofVault = ['group', 'vault'] as const;
  const keys = gauge(
    'vault_recovery_key_missing',
    '1: nobody has fetched the recovery key of the vault; without master.key its data would be lost',
    ofVault,
  );
  const reachable = gauge(
    'vault_reachable',
    '0: the repository of the vault could not be opened when it was last tried; what was gone is tried anew',
    ofVault,
  );
  const items = gauge('items', 'Protected items', [...ofVault, 'state']);
  const failing = gauge(
    'items_failing',
    'Items that are backed up, and whose newest backup has failed',
    ofVault,
  );
  const newest = gauge(
    'item_newest_point_time_seconds',
    'When the newest recovery point of an item that is backed up was taken',
    [...ofVault, 'vm'],
  );
  const jobs = gauge('jobs', 'Jobs that the catalogue holds', [...ofVault, 'operation', 'status']);
  for (const vault of await listVaults(read)) {
    const labels = { group: vault.group, vault: vault.name };
    reachable.set(labels, (await isReachable(service, vault.id)) ? 1 : 0);
    keys.set(labels, vault.hasRecoveryKey ? 0 : 1);
    failing.set(labels, 0);
    for (const { state, lastBackup, vmGroup, vmName } of await listItems(read, vault)) {
      items.inc({ ...labels, state });
      // Of one that is stopped nothing is to be done.
      if (state !== 'Protected' && state !== 'IRPending') continue;
      if (lastBackup?.status === 'Failed') failing.inc(labels);
      if (lastBackup?.pointAt === undefined) continue;
      newest.set({ ...labels, vm: `${vmGroup}/${vmName}` }, lastBackup.pointAt / 1000);
    }
    for (const { operation, status, count } of await countJobs(read, vault.id)) {
      jobs.set({ ...labels, operation, status }, count);
    }
  }
  await tellMachines(service, gauge);
  return registry;
}

/** What was gone may be back, and nobody may have asked for it since. */
async function isReachable({ reach, repositories }: Service, vaultId: string): Promise<boolean> {
  if (reach.couldBeOpened(vaultId)) return true;
  try {
    await repositories.read(vaultId, async () => undefined);
    return true;
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return false;
  }
}

type Gauges = ReturnType<typeof gaugesOf>;

function gaugesOf(registry: Registry) {
  return <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Gauge({
      name: `holdfast_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [registry],
    });
}

/** Of the hosts, and of the machine that the service runs on. */
async function tellMachines(service: Service, gauge: Gauges): Promise<void> {
  const hosts = gauge('host_reachable', '0: the VMs of the host could not be listed', ['host']);
  for (const { name, failure } of await listHosts(service.catalogue.read)) {
    hosts.set({ host: name }, failure === undefined ? 1 : 0);
  }
  const rests = gauge(
    'expiry_rests',
    '1: the clock leapt ahead; no recovery point expires and nothing is purged until it is trusted',
    [],
  );
  rests.set((await service.clockRest.rests()) ? 1 : 0);
}
