/** How Restore jobs come to be. What can be known now is refused now (decision 0008, invariant 5). */
import { HoldfastError, isHoldfastError } from '#base';
import { noteItemActivity } from '../activities/activities.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { getHost, requireRunsVms } from '../hosts/hosts.ts';
import { findVmNow } from '../hosts/look-again.ts';
import { findVm, listVms } from '../hosts/vms.ts';
import { requireAllowed } from '../items/item-states.ts';
import { getItem, type Item, type ItemName } from '../items/items.ts';
import type { Accepted } from '../items/protect.ts';
import { LOCATION, nameKey, parseName } from '../names.ts';
import { disksAt } from '../points/disks-at.ts';
import { getPoint, type Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { requireWritable } from '../vaults/require-writable.ts';
import { requireReachable } from '../vaults/vault-reach.ts';
import { loadWarning } from './advise-account.ts';
import { requireNetwork } from './require-network.ts';
import { requireRoom, ROOM } from './require-room.ts';
import { LOAD, type RestoreRequest } from './restore-request.ts';

/**
 * Restores from a recovery point of the item.
 *
 * @throws {HoldfastError} `ResourceNotFound` for vault, storage account, VM or host;
 *   `BMSUserErrorProtectedItemNotFound`, `BMSUserErrorRecoveryPointNotFound`; `UserErrorInvalidDiskSelection`;
 *   `VaultUnavailable`; `UserErrorStorageAccountFull`, `StorageAccountUnusable` where its folder is not there;
 *   of a new VM: `InvalidResourceName`, `VmExists`, `DefinitionUnsupported` where its host cannot start or plug it in as
 *   was asked; of a replacement: `UserErrorVmNotShutDown` (R68),
 *   `UserErrorVmNotFoundV2`, and `UserErrorProtectionStopped` or `StoreReadOnly`, as it takes a backup first.
 */
export async function startRestore(
  parts: ServiceParts,
  name: ItemName,
  request: RestoreRequest,
): Promise<Accepted> {
  const { item, point } = await checkAllButRoom(parts, name, request);
  const jobId = await parts.turns(ROOM, async () => {
    await requireRoom(parts, { item, point }, request);
    return await addRestore(parts, { item, point }, request);
  });
  return { jobId };
}

type Restorable = { readonly item: Item; readonly point: Point };

async function addRestore(
  parts: ServiceParts,
  { item, point }: Restorable,
  request: RestoreRequest,
): Promise<string> {
  const warning = await loadWarning(parts, { item, point }, request);
  return await parts.catalogue.change(async (change) => {
    await getStorageAccount(change, request.account); // Not removed meanwhile: that looks for jobs.
    const { group, name } = request.account;
    const detail = { kind: request.kind, point: request.point, account: `${group}/${name}` };
    await noteItemActivity(parts, change, { item: item.id, action: 'Restore', detail });
    return await parts.jobs.add(change, {
      vaultId: item.vaultId,
      itemId: item.id,
      entity: item.vmName,
      operation: 'Restore',
      isUserTriggered: true,
      request,
      properties: {
        ...propertiesOf(request, point),
        ...(warning === undefined ? {} : { [LOAD]: warning }),
      },
      // A replacement must meet no backup of the same VM; what only reads points may.
      claims: request.kind === 'replace' ? [`item:${item.id}`] : [],
    });
  });
}

/** What `startRestore` refuses, without starting anything. */
export async function checkRestore(
  parts: ServiceParts,
  name: ItemName,
  request: RestoreRequest,
): Promise<Restorable> {
  const restorable = await checkAllButRoom(parts, name, request);
  await requireRoom(parts, restorable, request);
  return restorable;
}

async function checkAllButRoom(
  parts: ServiceParts,
  name: ItemName,
  request: RestoreRequest,
): Promise<Restorable> {
  const reader = parts.catalogue.read;
  const item = await getItem(reader, name);
  requireAllowed('restore', item);
  if (request.kind === 'replace') await requireWritable(parts, item.vaultId);
  else await requireReachable(parts, item.vaultId);
  const point = await getPoint(reader, item.id, request.point);
  await getStorageAccount(reader, request.account);
  disksAt(point, request.luns);
  if (request.kind === 'new-vm') {
    if (request.starts) {
      const instead =
        'make the new VM without starting it (no --start), or restore to a host of libvirt or QEMU';
      await requireRunsVms(reader, request.hostKey, instead);
    }
    await requireNetwork(reader, item, request);
    await requireFree(parts, request);
  }
  if (request.kind === 'replace') await requireOff(parts, item);
  return { item, point };
}

function propertiesOf(request: RestoreRequest, point: Point): Readonly<Record<string, string>> {
  const kinds = {
    disks: 'Recover disks',
    'new-vm': 'Create virtual machine',
    replace: 'Replace disks',
  };
  return {
    'Job Type': kinds[request.kind],
    'Recovery point time': new Date(point.takenAt).toISOString(),
    'Target Storage Account Name': request.account.name,
    'Target Region': LOCATION,
  };
}

/** @throws {HoldfastError} `InvalidResourceName`, `ResourceNotFound` for the host, `VmExists`. */
export async function requireFree(
  parts: ServiceParts,
  { hostKey, vmName }: { readonly hostKey: string; readonly vmName: string },
): Promise<void> {
  const reader = parts.catalogue.read;
  parseName(vmName, 'virtual machine');
  await getHost(reader, hostKey);
  const isThere = async (): Promise<boolean> =>
    (await listVms(reader, hostKey)).some(({ name }) => nameKey(name) === nameKey(vmName));
  if (!(await isThere())) return;
  // It may have gone since the host was last asked.
  await discoverHost(parts, hostKey);
  if (!(await isThere())) return;
  throw new HoldfastError(
    'VmExists',
    `There is a VM '${vmName}' on the host '${hostKey}': choose another name.`,
  );
}

/** R68. */
async function requireOff(parts: ServiceParts, item: Item): Promise<void> {
  requireAllowed('backUp', item);
  const { name, state } = await thereNow(parts, item);
  if (state === 'off') return;
  throw new HoldfastError(
    'UserErrorVmNotShutDown',
    `VM needs to be in deallocated state for performing replace disks operation: '${name}' is ${state}. Shut it down, and retry.`,
  );
}

/** The item's VM, as its host tells now. */
async function thereNow(parts: ServiceParts, item: Item) {
  const { vmGroup: group, vmName: name } = item;
  const { catalogue, hosts } = parts;
  const known = await findVmNow(parts, { group, name });
  if (known === undefined) throw vmGone(item);
  try {
    return await hosts.use(known.hostKey, async (hypervisor) => hypervisor.find(known.name));
  } catch (error) {
    // The socket of a VM that was started by hand goes with it.
    const mayBeGone = ['VmNotFound', 'HypervisorUnavailable'] as const;
    if (!mayBeGone.some((code) => isHoldfastError(error, code))) throw error;
    await discoverHost(parts, known.hostKey);
    const isThere = (await findVm(catalogue.read, { group, name })) !== undefined;
    throw isThere ? error : vmGone(item, error);
  }
}

function vmGone({ vmGroup, vmName }: Item, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'UserErrorVmNotFoundV2',
    `The virtual machine '${vmName}' of '${vmGroup}' doesn't exist (VMNotFoundV2), so that it has no disks to replace: restore it as a new VM of that name.`,
    { cause },
  );
}
