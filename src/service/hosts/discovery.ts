/**
 * Lists the VMs of hosts anew. A VM that is not there any more is marked gone, not deleted: its item and its
 * points remain (R55), and one of the same name in the same group is the same again (R56).
 */
import { randomUUID } from 'node:crypto';
import { isHoldfastError } from '#base';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { nameKey } from '../names.ts';
import type { ServiceParts } from '../service-parts.ts';
import { listHosts } from './hosts.ts';
import { factsOf, factsToJson, type VmFacts } from './vm-facts.ts';

/** All hosts, side by side; a host that does not answer keeps its VMs as they were, and says why. */
export async function discoverAll(parts: ServiceParts): Promise<void> {
  const hosts = await listHosts(parts.catalogue.read);
  const all = await Promise.allSettled(
    hosts.map(async ({ name }) => await discoverHost(parts, name)),
  );
  for (const one of all) if (one.status === 'rejected') throw one.reason; // When all have ended.
}

export async function discoverHost(parts: ServiceParts, host: string): Promise<void> {
  const hostKey = nameKey(host);
  await parts.turns(`host ${hostKey}`, async () => {
    let found: readonly { readonly name: string; readonly facts: VmFacts }[];
    try {
      const vms = await parts.hosts.list(hostKey);
      found = vms.map((vm) => ({ name: vm.name, facts: factsOf(vm) }));
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      await noteFailure(parts, hostKey, `${error.message} [${error.code}]`);
      return;
    }
    const now = parts.clock.nowMs();
    await parts.catalogue.change(async (change) => {
      const hosts = change.selectFrom('hosts').select('uri').where('key', '=', hostKey);
      const { uri } = (await hosts.executeTakeFirst()) ?? {};
      if (uri === undefined) return; // Removed meanwhile.
      for (const { name, facts } of found) await seen(change, { hostKey, name, facts, now });
      await markGone(change, { hostKey, there: found.map(({ name }) => nameKey(name)), now });
      await change
        .updateTable('hosts')
        .set({ seenAt: now, failure: nobodyListens(uri, found.length) })
        .where('key', '=', hostKey)
        .execute();
    });
  });
}

type Seen = {
  readonly hostKey: string;
  readonly name: string;
  readonly facts: VmFacts;
  readonly now: number;
};

async function seen(change: CatalogueChange, { hostKey, name, facts, now }: Seen): Promise<void> {
  const told = { name, facts: factsToJson(facts), seenAt: now, goneAt: null };
  const vmId = facts.uuid ?? randomUUID();
  await change
    .insertInto('vms')
    .values({ hostKey, groupKey: hostKey, key: nameKey(name), vmId, ...told })
    .onConflict((known) =>
      known
        .columns(['groupKey', 'key'])
        .doUpdateSet(facts.uuid === undefined ? told : { ...told, vmId: facts.uuid }),
    )
    .execute();
}

async function markGone(
  change: CatalogueChange,
  gone: { readonly hostKey: string; readonly there: readonly string[]; readonly now: number },
): Promise<void> {
  const { hostKey, there, now } = gone;
  let query = change.updateTable('vms').set({ goneAt: now }).where('hostKey', '=', hostKey);
  query = query.where('goneAt', 'is', null);
  if (there.length > 0) query = query.where('key', 'not in', there);
  await query.execute();
}

/** The VM of a QEMU that has ended is gone until it is started again, or restored: nothing else tells of it. */
function nobodyListens(uri: string, vmCount: number): string | null {
  if (!uri.startsWith('qmp:') || vmCount > 0) return null;
  return `no QEMU listens at ${uri}: its VM is off, and is seen again when it is started with that socket`;
}

async function noteFailure(
  { catalogue }: ServiceParts,
  key: string,
  failure: string,
): Promise<void> {
  await catalogue.change(async (change) => {
    await change.updateTable('hosts').set({ failure }).where('key', '=', key).execute();
  });
}
