/**
 * VMs start and end without a word to the service, which lists them every few minutes. Whoever asks whether they run
 * is told what their hosts say now, or after a short while what they said last.
 */
import { toldElsewhere } from '#base';
import { nameKey } from '../names.ts';
import type { ServiceParts } from '../service-parts.ts';
import { discoverHost } from './discovery.ts';
import { listHosts, runsVms } from './hosts.ts';
import { findVm, type HostVm } from './vms.ts';

/** What was seen so lately is not looked at again. */
const FRESH_MS = 2_000;
/** Longer than a host that is well needs; whoever asks waits no longer. */
const PATIENCE_MS = 3_000;

/**
 * As `findVm`; the host of one that is not there is listed anew before, however long that takes.
 */
export async function findVmNow(
  parts: ServiceParts,
  vm: { readonly group: string; readonly name: string },
): Promise<HostVm | undefined> {
  const { read } = parts.catalogue;
  const known = await findVm(read, vm);
  if (known !== undefined) return known;
  const host = (await listHosts(read)).find(({ name }) => nameKey(name) === nameKey(vm.group));
  if (host === undefined) return undefined;
  await discoverHost(parts, host.name);
  return await findVm(read, vm);
}

/** @param group of one host; absent: all. */
export async function lookAgain(parts: ServiceParts, group?: string): Promise<void> {
  const { catalogue, clock, log, underway } = parts;
  const now = clock.nowMs();
  const stale = (await listHosts(catalogue.read)).filter(
    (host) =>
      runsVms(host) &&
      (group === undefined || nameKey(host.name) === nameKey(group)) &&
      Math.abs(now - (host.seenAt ?? 0)) > FRESH_MS,
  );
  if (stale.length === 0) return;
  const looks = stale.map(async ({ name }) => {
    try {
      await discoverHost(parts, name);
    } catch (error) {
      log.error({ host: name, error: String(error) }, 'the VMs of a host could not be listed');
    }
  });
  const all = Promise.all(looks).then(() => undefined);
  underway.add(all);
  const done = new AbortController();
  const limit = clock.sleep(PATIENCE_MS, done.signal);
  void toldElsewhere(limit); // Ended below.
  try {
    await Promise.race([all, limit]);
  } finally {
    done.abort();
  }
}
