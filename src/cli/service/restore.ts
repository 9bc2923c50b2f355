/**
 * `holdfast restore`: disks into a storage account, a new VM, or the disks of the VM that is there. The request is
 * our own instead of the SDK's: it says whether a new VM is started, a field that Azure's model has not.
 */
import { formatDuration } from '../output/units.ts';
import { canPrompt } from '../password/prompt.ts';
import { UsageError } from '../usage-error.ts';
import { jobOf } from './accepted.ts';
import { accountFor, type ChosenAccount } from './advise-account.ts';
import { confirm } from './confirm.ts';
import { failureOfJob, followJob, getJob } from './follow-job.ts';
import { exitCodeOf, type JobFacts } from './job-facts.ts';
import { fullName, requirePlain } from './names.ts';
import { findPoint, type PointFacts } from './points.ts';
import { findItem, LOCATION, type ServiceItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import type { AccountFacts } from './storage-accounts.ts';
import { shortTime } from './time.ts';

/** Properties of the job. */
const BEFORE = 'Disks before';
const SAFETY = 'Recovery point of the disks before';

export type RestoreOptions = {
  readonly vault?: string;
  readonly storageAccount?: string;
  /** LUNs; the system disk is always with them. */
  readonly disks?: readonly number[];
  readonly onlyOsDisk?: boolean;
  readonly as?: string;
  readonly host?: string;
  readonly network?: string;
  readonly start?: boolean;
  readonly replace?: boolean;
  readonly yes?: boolean;
  readonly wait: boolean;
};

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function restoreVm(
  context: ServiceContext,
  names: { readonly vm: string; readonly point: string },
  options: RestoreOptions,
): Promise<void> {
  const { service, terminal } = context;
  checkOptions(options);
  const item = await findItem(service, names.vm, options.vault);
  const point = await findPoint(service, item, names.point);
  const account = await accountFor(context, { item, point }, options);
  if (account.warning !== null) terminal.warn(account.warning);
  const vm = fullName(item.vm);
  if (options.replace === true) {
    if (options.yes !== true && canPrompt(context.surroundings))
      terminal.note(whatReplacingLeaves(vm, account));
    const taken = shortTime(point.takenTime);
    await confirm(
      context,
      `put the disks of ${vm} back to what they were at ${taken}`,
      options.yes,
    );
  }
  const body = { properties: requestOf(service, { item, point, account, options }) };
  const path = `${item.id}/recoveryPoints/${point.id}/restore`;
  const at = await service.http.accepted('POST', path, { body });
  const id = await jobOf(service, item.vault, at);
  if (id === undefined) throw new TypeError('a restore was accepted without a job');
  const name = { vault: item.vault, id };
  if (!options.wait) {
    const begun = await getJob(service, name);
    terminal.result(
      { ...begun, storageAccount: toldOf(account) },
      () => `Restore of ${vm} has begun: job ${begun.id}`,
    );
    return;
  }
  const job = await followJob(context, name);
  if (exitCodeOf(job) !== 0) throw failureOfJob(job);
  terminal.result({ ...job, point, storageAccount: toldOf(account) }, () =>
    options.replace === true
      ? describeReplaced({ vm, job, point, account })
      : describe(vm, job, point),
  );
}

function toldOf({ group, name, path, warning }: ChosenAccount) {
  return { group, name, path, warning };
}

function whatReplacingLeaves(vm: string, account: AccountFacts): string {
  return (
    `What is on the disks of ${vm} now becomes a recovery point first. Its disks will then be new images in a folder of\n` +
    `the storage account ${fullName(account)}, ${account.path}; the images that it has now stay where they are.`
  );
}

function checkOptions(options: RestoreOptions): void {
  const { as, replace, host, network, start, disks, onlyOsDisk } = options;
  if (as !== undefined && replace === true) {
    throw new UsageError('--as and --replace contradict each other: give one of them');
  }
  const ofNewVm = [host, network, start].some((one) => one !== undefined);
  if (as === undefined && ofNewVm) {
    throw new UsageError('--host, --network and --start belong to --as');
  }
  requirePlain({ as, host, network });
  if (disks !== undefined && onlyOsDisk === true) {
    throw new UsageError('--disks and --only-os-disk contradict each other: give one of them');
  }
}

function requestOf(
  service: Service,
  of: {
    readonly item: ServiceItem;
    readonly point: PointFacts;
    readonly account: AccountFacts;
    readonly options: RestoreOptions;
  },
) {
  const { item, point, account, options } = of;
  const { disks, onlyOsDisk, as, replace, host, network, start } = options;
  const luns = onlyOsDisk === true ? [] : disks;
  const common = {
    objectType: 'IaasVMRestoreRequest',
    recoveryPointId: point.id,
    sourceResourceId: item.vmId,
    storageAccountId: account.id,
    region: LOCATION,
    createNewCloudService: false,
    originalStorageAccountOption: false,
    ...(luns === undefined ? {} : { restoreDiskLunList: luns }),
  };
  if (replace === true) return { ...common, recoveryType: 'OriginalLocation' };
  if (as === undefined) return { ...common, recoveryType: 'RestoreDisks' };
  const group = `${service.root}/resourceGroups/${host ?? item.vm.group}`;
  const networkId = `${group}/providers/Microsoft.Network/virtualNetworks/${network}`;
  return {
    ...common,
    recoveryType: 'AlternateLocation',
    targetVirtualMachineId: `${group}/providers/Microsoft.Compute/virtualMachines/${as}`,
    targetResourceGroupId: group,
    startVirtualMachine: start === true,
    ...(network === undefined
      ? {}
      : { virtualNetworkId: networkId, subnetId: `${networkId}/subnets/default` }),
  };
}

function describe(vm: string, job: JobFacts, point: PointFacts): string {
  return [
    restoredText(vm, job, point),
    ...propertiesOf(job, ['Target VM', 'Target Folder', 'Restored Files']),
    ...(job.warnings ?? []).map((text) => `Warning: ${text}`),
  ].join('\n');
}

type Replaced = {
  readonly vm: string;
  readonly job: JobFacts;
  readonly point: PointFacts;
  readonly account: AccountFacts;
};

/** What is left behind, too: nobody else tells that old images may go, and the new ones may not. */
function describeReplaced({ vm, job, point, account }: Replaced): string {
  const { [BEFORE]: before, [SAFETY]: safety } = job.properties ?? {};
  const left = [
    `The disks of ${vm} lie in the Target Folder now, in the storage account ${fullName(account)}: keep them there.`,
    ...(safety === undefined ? [] : [`What was on them before is recovery point ${safety}.`]),
    ...(before === undefined || before === ''
      ? []
      : [
          `The images in Disks before are no longer used: delete them once ${vm} works as it should.`,
        ]),
  ];
  return [
    restoredText(vm, job, point),
    ...propertiesOf(job, ['Target Folder', 'Restored Files', BEFORE]),
    ...left,
    ...(job.warnings ?? []).map((text) => `Warning: ${text}`),
  ].join('\n');
}

function restoredText(vm: string, { durationSeconds }: JobFacts, point: PointFacts): string {
  const took = durationSeconds === undefined ? '' : ` in ${formatDuration(durationSeconds)}`;
  return `Point ${point.id} of ${vm}, taken ${shortTime(point.takenTime)}, is restored${took}.`;
}

function propertiesOf({ properties = {} }: JobFacts, names: readonly string[]): readonly string[] {
  return names.flatMap((name) => {
    const value = properties[name];
    return value === undefined || value === '' ? [] : [`${name}: ${value}`];
  });
}
