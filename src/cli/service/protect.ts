/** `holdfast protect`, `unprotect`, `undelete` and `resume`: whether a VM is backed up, and by which policy. */
import type { ProtectedItemUnion } from '@azure/arm-recoveryservicesbackup';
import { HoldfastError, shellQuoted } from '#base';
import { UsageError } from '../usage-error.ts';
import { begin } from './accepted.ts';
import { confirm } from './confirm.ts';
import { followJob } from './follow-job.ts';
import { itemFacts, type ItemFacts } from './items.ts';
import { exitCodeOf } from './job-facts.ts';
import { fullName, isSame } from './names.ts';
import { findPolicy } from './policies.ts';
import {
  byStanding,
  FABRIC,
  findDeletedItem,
  findItem,
  findVault,
  findVm,
  isBackedUp,
  listItems,
  pathOfItem,
  type ServiceItem,
} from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

/** Every new vault has it. */
const DEFAULT_POLICY = 'DefaultPolicy';
const VM_KIND = 'Microsoft.Compute/virtualMachines';

type OfVault = { readonly vault?: string };

export type ProtectOptions = OfVault & {
  readonly policy?: string;
  readonly excludeLun?: readonly number[];
  readonly onlyLun?: readonly number[];
  readonly allDisks?: boolean;
};

/** Also gives a protected one another policy or choice of disks. */
export async function protectVm(
  context: ServiceContext,
  name: string,
  options: ProtectOptions,
): Promise<void> {
  const { service } = context;
  const vm = await findVm(service, name);
  const items = await listItems(service, options.vault);
  const known = byStanding(items).filter((item) => isSame(fullName(item.vm), fullName(vm)));
  const before = chosenItem(known);
  const { vault, policy } = await chosenPolicy(service, options, before);
  const extendedProperties = selectionOf(options);
  const target = before ?? { vault, vm, vmId: vm.id, ...pathOfItem(vm) };
  await change(service, target, {
    protectedItemType: VM_KIND,
    sourceResourceId: vm.id,
    policyId: policy.id,
    ...(extendedProperties === undefined ? {} : { extendedProperties }),
  });
  await tell(context, target, ({ vm: of, policy: by, state }) => {
    const pending =
      state === 'IRPending' ? `\nIts first backup: holdfast backup ${shellQuoted(of)}` : '';
    return `${of} is protected in ${fullName(vault)} by the policy ${by}.${pending}`;
  });
}

/** The only one, or the one that backs the VM up; a VM that only was protected elsewhere may get another vault. */
function chosenItem([first, ...others]: readonly ServiceItem[]): ServiceItem | undefined {
  return others.length === 0 || (first !== undefined && isBackedUp(first)) ? first : undefined;
}

/** In the vault that is named or protects the VM already; else where the policy is, else in the only vault. */
async function chosenPolicy(service: Service, options: ProtectOptions, before?: ServiceItem) {
  const policy = options.policy ?? policyOf(before) ?? DEFAULT_POLICY;
  const known = options.vault ?? (before && fullName(before.vault));
  const isChosen = known !== undefined || options.policy !== undefined;
  const vault = isChosen ? known : fullName(await findVault(service, undefined, '--vault'));
  return await findPolicy(service, policy, vault);
}

function policyOf(item: ServiceItem | undefined): string | undefined {
  const name = item?.properties.policyName;
  return name === '' ? undefined : name;
}

/** Undefined: as it was, all disks of a new one. */
function selectionOf({ excludeLun, onlyLun, allDisks }: ProtectOptions) {
  const given = [excludeLun, onlyLun, allDisks].filter((one) => one !== undefined);
  if (given.length > 1) {
    throw new UsageError('--exclude-lun, --only-lun and --all-disks contradict each other');
  }
  if (allDisks === true) return {};
  const luns = excludeLun ?? onlyLun;
  if (luns === undefined) return undefined;
  return {
    diskExclusionProperties: { diskLunList: [...luns], isInclusionList: onlyLun !== undefined },
  };
}

export type UnprotectOptions = OfVault & {
  readonly retain?: boolean;
  readonly byPolicy?: boolean;
  readonly deleteData?: boolean;
  readonly yes?: boolean;
};

/** @returns the exit code: 1 if data was to be deleted at once, and that failed. */
export async function unprotectVm(
  context: ServiceContext,
  name: string,
  options: UnprotectOptions,
): Promise<number> {
  const { service } = context;
  const { retain, byPolicy, deleteData, yes } = options;
  const ways = [retain, byPolicy, deleteData].filter((way) => way === true);
  if (ways.length !== 1) {
    throw new UsageError(
      'say what becomes of the points: --retain (kept for ever), --by-policy (they expire, the last one stays) or --delete-data',
    );
  }
  const item = await findItem(service, name, options.vault);
  if (deleteData === true) return await deleteItem(context, item, yes);
  const stopped = retain === true ? 'ProtectionStopped' : 'BackupsSuspended';
  await change(service, item, {
    protectedItemType: VM_KIND,
    sourceResourceId: item.vmId,
    protectionState: stopped,
    ...(retain === true ? { policyId: '' } : {}),
  });
  await tell(context, item, ({ vm }) =>
    retain === true
      ? `Backups of ${vm} are stopped; its points are kept until they are deleted.`
      : `Backups of ${vm} are stopped; its points expire by the policy, the last one stays.`,
  );
  return 0;
}

async function deleteItem(
  context: ServiceContext,
  item: ServiceItem,
  yes: boolean | undefined,
): Promise<number> {
  const { service, terminal } = context;
  const vm = fullName(item.vm);
  await confirm(context, `stop the protection of ${vm} and delete all its recovery points`, yes);
  const { protectedItems } = await service.backup();
  const { vault, container, item: path } = item;
  const jobId = await begin(service, vault, async (onResponse) => {
    await protectedItems.delete(vault.name, vault.group, FABRIC, container, path, { onResponse });
  });
  const job = jobId === undefined ? undefined : await followJob(context, { vault, id: jobId });
  const left = await remaining(service, item);
  const document = { vm, vault: fullName(vault), deleted: true, ...left, jobId };
  terminal.result(document, () =>
    left === undefined
      ? `The recovery points of ${vm} are deleted.`
      : `The recovery points of ${vm} are soft-deleted until ${shortTime(left.deletedForGoodTime)}; holdfast undelete ${shellQuoted(vm)} brings them back.`,
  );
  return job === undefined ? 0 : exitCodeOf(job);
}

async function remaining(service: Service, item: ServiceItem): Promise<ItemFacts | undefined> {
  const items = await listItems(service, fullName(item.vault));
  const found = items.find(({ id }) => id === item.id);
  return found === undefined ? undefined : itemFacts(found);
}

export async function undeleteVm(
  context: ServiceContext,
  name: string,
  { vault }: OfVault,
): Promise<void> {
  const item = await findDeletedItem(context.service, name, vault);
  await change(context.service, item, {
    protectedItemType: VM_KIND,
    sourceResourceId: item.vmId,
    policyId: '',
    protectionState: 'ProtectionStopped',
    isRehydrate: true,
  });
  await tell(
    context,
    item,
    ({ vm }) =>
      `The recovery points of ${vm} are back, its protection is stopped; holdfast resume ${shellQuoted(vm)} goes on.`,
  );
}

export async function resumeVm(
  context: ServiceContext,
  name: string,
  { vault: of, policy: wanted }: OfVault & { readonly policy?: string },
): Promise<void> {
  const { service } = context;
  const item = await findItem(service, name, of);
  refuseResumed(item);
  const policy =
    wanted === undefined
      ? undefined
      : (await findPolicy(service, wanted, fullName(item.vault))).policy;
  await change(service, item, {
    protectedItemType: VM_KIND,
    sourceResourceId: item.vmId,
    // Without one, Holdfast goes on by the policy that the VM had.
    ...(policy === undefined ? { protectionState: 'Protected' } : { policyId: policy.id }),
  });
  await tell(
    context,
    item,
    ({ vm, policy: by }) => `${vm} is backed up again by the policy ${by}.`,
  );
}

/** By the API that would be a change of policy, or none. @throws {HoldfastError} `UserErrorItemAlreadyProtected` */
function refuseResumed(item: ServiceItem): void {
  if (!isBackedUp(item)) return;
  const vm = fullName(item.vm);
  throw new HoldfastError(
    'UserErrorItemAlreadyProtected',
    `the backups of ${vm} in ${fullName(item.vault)} are not stopped: there is nothing to resume; ` +
      `holdfast protect ${shellQuoted(vm)} --policy NAME gives it another policy`,
  );
}

type Target = Pick<ServiceItem, 'vault' | 'vm' | 'container' | 'item'>;

async function change(
  service: Service,
  { vault, container, item }: Target,
  properties: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { protectedItems } = await service.backup();
  const body = { properties: properties as unknown as ProtectedItemUnion };
  await begin(service, vault, async (onResponse) => {
    const at = [vault.name, vault.group, FABRIC, container, item] as const;
    await protectedItems.createOrUpdate(...at, body, { onResponse });
  });
}

/** Says what the item is now. */
async function tell(
  { service, terminal }: ServiceContext,
  { vault, vm }: Target,
  text: (facts: ItemFacts) => string,
): Promise<void> {
  const facts = itemFacts(await findItem(service, fullName(vm), fullName(vault)));
  terminal.result(facts, () => text(facts));
}
