/** How InstantBoot jobs come to be. What can be known now is refused now (decision 0008, invariant 5). */
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { checkBoot } from '#backup';
import { noteItemActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { requireRunsVms } from '../hosts/hosts.ts';
import { requireAllowed } from '../items/item-states.ts';
import { getItem, type ItemName } from '../items/items.ts';
import type { Accepted } from '../items/protect.ts';
import { LOCATION, nameKey } from '../names.ts';
import { disksAt } from '../points/disks-at.ts';
import { getPoint } from '../points/points.ts';
import { requireRoom, ROOM } from '../restoring/require-room.ts';
import { requireNetwork } from '../restoring/require-network.ts';
import { requireFree } from '../restoring/start-restore.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { bootRequestFromJson, type BootRequest } from './boot-request.ts';

export type WantedBoot = Omit<BootRequest, 'directory' | 'disks'> & {
  /** Absent: all disks. The system disk is always with them (R73). */
  readonly luns?: readonly number[];
};

/**
 * Boots a VM of a new name from a recovery point of the item.
 *
 * @throws {HoldfastError} `ResourceNotFound` for vault, storage account or host; `BMSUserErrorProtectedItemNotFound`,
 *   `BMSUserErrorRecoveryPointNotFound`; `UserErrorInvalidDiskSelection`; `InvalidResourceName`, `VmExists`; what
 *   `checkBoot` refuses: `DefinitionUnsupported`, `StoreFull`; `HypervisorUnavailable`; `UserErrorStorageAccountFull`
 *   with what other jobs are still to write.
 */
export async function startBoot(
  parts: ServiceParts,
  name: ItemName,
  wanted: WantedBoot,
): Promise<Accepted> {
  const { catalogue, repositories, hosts, clock, jobs } = parts;
  const { luns, ...asked } = wanted;
  const reader = catalogue.read;
  const item = await getItem(reader, name);
  requireAllowed('restore', item);
  const point = await getPoint(reader, item.id, wanted.point);
  const account = await getStorageAccount(reader, wanted.account);
  const disks = luns === undefined ? {} : { disks: disksAt(point, luns).map((disk) => disk.name) };
  await requireRunsVms(reader, wanted.hostKey, 'boot on a host of libvirt or QEMU');
  await requireNetwork(reader, item, wanted);
  await requireFree(parts, wanted);
  const request = { ...asked, ...disks, directory: folderOf(parts, account.path, wanted.vmName) };
  await repositories.read(item.vaultId, async (repository) =>
    hosts.use(wanted.hostKey, async (hypervisor) => {
      const { point: id, directory, isTrial } = request;
      const newVm = { ...newVmOf(request), hypervisor };
      await checkBoot({ repository, point: id, ...disks, directory, newVm, isTrial, clock });
    }),
  );
  const jobId = await parts.turns(ROOM, async () => {
    if (!wanted.isTrial) await requireRoom(parts, { item, point }, wanted);
    return await catalogue.change(async (change) => {
      await requireNobodyBoots(change, wanted);
      const { vmName, isTrial } = request;
      const detail = { point: point.id, vm: vmName, isTrial };
      await noteItemActivity(parts, change, { item: item.id, action: 'InstantBoot', detail });
      return await jobs.add(change, {
        vaultId: item.vaultId,
        itemId: item.id,
        entity: item.vmName,
        operation: 'InstantBoot',
        isUserTriggered: true,
        request,
        properties: {
          'Job Type': isTrial ? 'Instant boot on trial' : 'Instant boot',
          'Recovery point time': new Date(point.takenAt).toISOString(),
          'Target VM': vmName,
          'Target Storage Account Name': account.name,
          'Target Region': LOCATION,
        },
      });
    });
  });
  return { jobId };
}

/** What the data plane is told of the VM. */
export function newVmOf({ vmName: name, network }: Pick<BootRequest, 'vmName' | 'network'>) {
  const networks = network === undefined ? 'none' : { all: network };
  return { name, identity: 'new', networks } as const;
}

/** `/srv/restored/web2-20261122-101500-1f0c` */
function folderOf({ clock, random }: ServiceParts, account: string, vmName: string): string {
  const time = new Date(clock.nowMs()).toISOString().replaceAll(/[-:]|\.\d+Z/g, '');
  const vm = vmName.toLowerCase().replaceAll(/[^\p{L}\p{N}_.-]/gu, '_');
  return join(account, `${vm}-${time.replace('T', '-')}-${random(2).toString('hex')}`);
}

/** A boot that is still to begin has the name, too. @throws {HoldfastError} `VmExists`. */
async function requireNobodyBoots(
  reader: CatalogueReader,
  { hostKey, vmName }: WantedBoot,
): Promise<void> {
  const rows = await reader
    .selectFrom('jobs')
    .select(['id', 'request'])
    .where('operation', '=', 'InstantBoot')
    .where('endedAt', 'is', null)
    .execute();
  const other = rows.find(({ request }) => {
    const booted = bootRequestFromJson(request);
    return booted.hostKey === hostKey && nameKey(booted.vmName) === nameKey(vmName);
  });
  if (other === undefined) return;
  throw new HoldfastError(
    'VmExists',
    `A VM '${vmName}' is being booted on that host by the job ${other.id}: choose another name.`,
  );
}
