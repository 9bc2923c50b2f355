/** The connections of one service (`host-connections.ts` has the contract). */
import { HoldfastError, toldElsewhere } from '#base';
import { connectHypervisor, type Hypervisor } from '#backup';
import type { RecordParts } from '../record-parts.ts';
import type { HostConnections } from './host-connections.ts';
import { getHost } from './hosts.ts';

export function connectHosts({ clock, random, catalogue, settings }: RecordParts): HostConnections {
  const lend = async <Result>(
    uri: string,
    work: (hypervisor: Hypervisor) => Promise<Result>,
  ): Promise<Result> => {
    const hypervisor = await connectHypervisor(uri, { clock, random });
    try {
      return await work(hypervisor);
    } finally {
      await hypervisor.close();
    }
  };
  const hanging = new Map<string, Promise<unknown>>();
  const list: HostConnections['list'] = async (hostKey) => {
    const { name, uri } = await getHost(catalogue.read, hostKey);
    if (hanging.has(hostKey)) throw silent(name, settings.hostTimeoutMs);
    const listing = lend(uri, async (hypervisor) => await hypervisor.list());
    const ended = listing.catch(() => undefined).finally(() => hanging.delete(hostKey)); // Told below.
    hanging.set(hostKey, ended);
    return await inTime(name, listing);
  };
  const inTime = async <Result>(name: string, work: Promise<Result>): Promise<Result> => {
    const done = new AbortController();
    const limit = clock.sleep(settings.hostTimeoutMs, done.signal).then(() => {
      throw silent(name, settings.hostTimeoutMs);
    });
    void toldElsewhere(limit); // Ended below.
    try {
      return await Promise.race([work, limit]);
    } finally {
      done.abort();
    }
  };
  return {
    use: async (hostKey, work) => await lend((await getHost(catalogue.read, hostKey)).uri, work),
    list,
    probe: async (uri, { mayBeAbsent }) => {
      const looking = lend(uri, async (hypervisor) => {
        const vms = await hypervisor.list();
        if (hypervisor.kind === 'qemu' && vms.length === 0 && !mayBeAbsent) throw refused(uri);
      });
      await inTime(uri, looking);
    },
  };
}

/** A QEMU that is there has a VM; one that Holdfast has made is listed also while it is off. */
function refused(uri: string): HoldfastError {
  return new HoldfastError(
    'HypervisorUnavailable',
    `no QEMU listens at ${uri}: a VM that is off has no socket. Start it with -qmp unix:PATH,server=on,wait=off, ` +
      'correct the path, or name the folder of its images (images:/folder); --allow-absent (allowAbsent) adds the ' +
      'host for a VM that is still to come',
  );
}

function silent(name: string, timeoutMs: number): HoldfastError {
  return new HoldfastError(
    'HypervisorUnavailable',
    `the host '${name}' has not listed its VMs within ${timeoutMs / 1000} s: see whether its hypervisor hangs`,
  );
}
