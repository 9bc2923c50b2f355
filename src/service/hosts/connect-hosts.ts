/** The connections of one service (`host-connections.ts` has the contract). */
import { connectHypervisor, type Hypervisor } from '#backup';
import type { RecordParts } from '../record-parts.ts';
import type { HostConnections } from './host-connections.ts';
import { getHost } from './hosts.ts';

export function connectHosts({ clock, random, catalogue }: RecordParts): HostConnections {
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
  return {
    use: async (hostKey, work) => await lend((await getHost(catalogue.read, hostKey)).uri, work),
    probe: async (uri) => {
      await lend(uri, async (hypervisor) => await hypervisor.list());
    },
  };
}
