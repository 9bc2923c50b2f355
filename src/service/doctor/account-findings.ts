/** Storage accounts where restores wait, or disks crowd, while another has room for them (M38). */
import { listVms } from '../hosts/vms.ts';
import type { ServiceParts } from '../service-parts.ts';
import { accountLoads, isIdle } from '../storage-accounts/account-loads.ts';
import type { StorageAccount } from '../storage-accounts/storage-accounts.ts';
import type { Finding } from './finding.ts';

export async function accountFindings(parts: ServiceParts): Promise<readonly Finding[]> {
  // An account whose folder cannot be used is no place to go to.
  const loads = (await accountLoads(parts)).filter(({ freeBytes }) => freeBytes !== undefined);
  const idle = loads.find(isIdle);
  const waiting = idle === undefined ? [] : loads.filter((one) => one.restores > one.atOnce);
  const vms = await listVms(parts.catalogue.read);
  const locations = vms.flatMap(({ facts }) => facts.disks.map(({ location }) => location));
  const filled = loads.map(({ account }) => ({
    account,
    disks: locations.filter((location) => location.startsWith(`${account.path}/`)).length,
  }));
  return [
    ...waiting.map(({ account, restores, atOnce }): Finding => ({
      severity: 'warning',
      where: calledOf(account),
      what: `${restores} restores were asked for there, of which ${atOnce} run at once, while the ${calledOf(idle!.account)} is idle`,
      advice: 'restore to the idle one: a restore without --storage-account chooses it',
    })),
    ...crowdedAccounts(filled).map(({ crowded, emptier }): Finding => ({
      severity: 'warning',
      where: calledOf(crowded.account),
      what: `${crowded.disks} disks of VMs crowd in ${crowded.account.path}, where the ${calledOf(emptier.account)} has ${emptier.disks}`,
      advice:
        'restore to the emptier one from now on: disks of one account share its speed and its room',
    })),
  ];
}

function calledOf({ group, name }: StorageAccount): string {
  return `storage account ${group}/${name}`;
}

/** So many disks of VMs in one account are a crowd, where another has at most a quarter of them. */
const CROWD = 8;

type Filled = { readonly account: StorageAccount; readonly disks: number };

/** Each with the emptiest account. */
export function crowdedAccounts(
  accounts: readonly Filled[],
): readonly { readonly crowded: Filled; readonly emptier: Filled }[] {
  const [emptier] = accounts.toSorted((a, b) => a.disks - b.disks);
  if (emptier === undefined) return [];
  return accounts
    .filter(({ disks }) => disks >= CROWD && emptier.disks * 4 <= disks)
    .map((crowded) => ({ crowded, emptier }));
}
