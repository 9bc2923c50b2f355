/** Whether a new VM can be plugged into a network at all; whether its host has that one the hypervisor says. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { getHost, runsVms } from '../hosts/hosts.ts';
import { findVm } from '../hosts/vms.ts';
import type { Item } from '../items/items.ts';

/** @throws {HoldfastError} `ResourceNotFound` for the host; `DefinitionUnsupported`. */
export async function requireNetwork(
  reader: CatalogueReader,
  { vmGroup, vmName }: Pick<Item, 'vmGroup' | 'vmName'>,
  { hostKey, network }: { readonly hostKey: string; readonly network?: string | undefined },
): Promise<void> {
  if (network === undefined) return;
  const host = await getHost(reader, hostKey);
  if (!runsVms(host)) {
    throw withoutCards(`The host '${host.name}' is a folder of images, whose VMs have`, network);
  }
  const vm = await findVm(reader, { group: vmGroup, name: vmName });
  if (vm === undefined || vm.facts.networkCards.length > 0) return;
  throw withoutCards(`The VM '${vmName}' of '${vmGroup}' has`, network);
}

function withoutCards(who: string, network: string): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `${who} no network card to be plugged into '${network}': name no network.`,
  );
}
