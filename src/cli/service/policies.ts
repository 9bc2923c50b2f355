/**
 * `holdfast policy …`. Policies are written as the JSON that they are, not by the SDK: that would leave fields of a
 * file out that it does not know, where the service refuses them.
 */
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { whyUnread } from '../arguments/why-unread.ts';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { UsageError } from '../usage-error.ts';
import { confirm } from './confirm.ts';
import { fullName, isSame, notFound, type Named } from './names.ts';
import { inOptions } from './policy-faults.ts';
import { policyOf, retentionText, scheduleText, type PolicyOptions } from './policy-words.ts';
import type { WirePolicy, WirePolicyResource } from './policy-wire.ts';
import { findVault, listVaults, orOf } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';

type OfVault = { readonly vault?: string };
export type PolicyChange = PolicyOptions & OfVault & { readonly file?: string };

export async function createPolicy(
  { service, terminal }: ServiceContext,
  name: string,
  options: PolicyChange,
): Promise<void> {
  const vault = await findVault(service, options.vault, '--vault');
  const properties = await wanted(options);
  const at = pathOf(service, vault, name);
  const body = { properties };
  // Creating is no changing: of a policy that is there, `set` is meant.
  const known = await listPolicies(service, vault);
  if (known.some((policy) => isSame(policy.name, name))) {
    throw new HoldfastError(
      'ResourceExists',
      `${fullName(vault)} has a policy ${name} already: holdfast policy set changes it`,
    );
  }
  const put = async () => await service.http.json('PUT', at, { body });
  const policy = (await inOptions(options, put)) as WirePolicyResource;
  terminal.result(policy, () => describe(vault, policy));
}

export async function showPolicies(
  { service, terminal }: ServiceContext,
  { vault: of }: OfVault,
): Promise<void> {
  const policies = await listPoliciesOf(service, of);
  terminal.result({ policies: policies.map(({ policy }) => policy) }, () => {
    if (policies.length === 0)
      return 'There are no policies: holdfast vault create makes a vault with one.';
    return formatTable(
      [
        left('POLICY'),
        left('VAULT'),
        right('VMS'),
        left('BACKS UP'),
        left('TIME ZONE'),
        left('KEEPS'),
      ],
      policies.map(({ vault, policy: { name, properties } }) => [
        name,
        fullName(vault),
        String(properties.protectedItemsCount),
        scheduleText(properties),
        properties.timeZone ?? 'UTC',
        retentionText(properties),
      ]),
    );
  });
}

export async function showPolicy(
  { service, terminal }: ServiceContext,
  name: string,
  { vault: of }: OfVault,
): Promise<void> {
  const { vault, policy } = await findPolicy(service, name, of);
  terminal.result(policy, () => describe(vault, policy));
}

export async function deletePolicy(
  context: ServiceContext,
  name: string,
  { vault: of, yes }: OfVault & { readonly yes?: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const { vault, policy } = await findPolicy(service, name, of);
  await confirm(context, `delete the policy ${policy.name} of ${fullName(vault)}`, yes);
  const { protectionPolicies } = await service.backup();
  await service.ask(
    async () => await protectionPolicies.beginDeleteAndWait(vault.name, vault.group, policy.name),
  );
  const document = { deleted: policy.name, vault: fullName(vault) };
  terminal.result(document, () => `Policy ${policy.name} of ${fullName(vault)} is deleted.`);
}

/**
 * In that vault; without one, where only one vault has a policy of that name.
 *
 * @throws {HoldfastError} `ResourceNotFound`; {UsageError} where several vaults have it.
 */
export async function findPolicy(
  service: Service,
  name: string,
  vaultName: string | undefined,
): Promise<PolicyOfVault> {
  const policies = await listPoliciesOf(service, vaultName);
  const matching = policies.filter(({ policy }) => isSame(policy.name, name));
  const [found] = matching;
  if (found === undefined) {
    if ((await listVaults(service)).length === 0) await findVault(service, undefined); // Says how to make one.
    const names = new Set(policies.map(({ policy }) => policy.name));
    throw notFound(`there is no policy ${name}`, 'policy', [...names]);
  }
  if (matching.length === 1) return found;
  const vaults = matching.map(({ vault }) => fullName(vault));
  throw new UsageError(
    `several vaults have a policy ${found.policy.name}: give --vault ${orOf(vaults)}`,
  );
}

type PolicyOfVault = { readonly vault: Named; readonly policy: WirePolicyResource };

/** @param vaultName undefined: of all vaults. */
async function listPoliciesOf(
  service: Service,
  vaultName: string | undefined,
): Promise<readonly PolicyOfVault[]> {
  const vaults =
    vaultName === undefined ? await listVaults(service) : [await findVault(service, vaultName)];
  const lists = vaults.map(async (vault) =>
    (await listPolicies(service, vault)).map((policy) => ({ vault, policy })),
  );
  return (await Promise.all(lists)).flat();
}

async function listPolicies(
  service: Service,
  vault: Named,
): Promise<readonly WirePolicyResource[]> {
  return await service.allOf<WirePolicyResource>(pathOf(service, vault));
}

/** Whether they say anything of a policy. */
export function saysPolicy({ file, ...options }: PolicyChange): boolean {
  return file !== undefined || POLICY_WORDS.some((word) => options[word] !== undefined);
}

/** The policy that the options say, in Azure's form. @throws {UsageError} */
export async function wanted(options: PolicyChange, before?: WirePolicy): Promise<unknown> {
  const { file, vault: _, ...words } = options;
  if (file === undefined) return policyOf(words, before);
  const isAlone = POLICY_WORDS.every((word) => words[word] === undefined);
  if (!isAlone) throw new UsageError('--file is a whole policy: give no other option of one');
  return await policyFromFile(file);
}

const POLICY_WORDS = [
  'daily',
  'weekly',
  'at',
  'hourly',
  'from',
  'for',
  'enhanced',
  'timeZone',
  'keepDaily',
  'keepWeekly',
  'keepWeeklyOn',
  'keepMonthly',
  'keepMonthlyOn',
  'keepYearly',
  'keepYearlyOn',
  'instantDays',
] as const satisfies readonly (keyof PolicyOptions)[];

/** The properties alone, or the resource around them, as `az backup policy show` prints it. */
async function policyFromFile(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`--file ${file} cannot be read: ${whyUnread(error)}`);
  });
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return value['properties'] ?? value;
  } catch (error) {
    throw new UsageError(
      `--file ${file} is no JSON: ${error instanceof Error ? error.message : ''}`,
    );
  }
}

export function describe(vault: Named, { name, properties }: WirePolicyResource): string {
  const { timeZone, policyType, instantRpRetentionRangeInDays: instantDays } = properties;
  return formatFacts([
    ['Policy', name],
    ['Vault', fullName(vault)],
    ['Kind', policyType === 'V2' ? 'enhanced' : 'standard'],
    ['Backs up', `${scheduleText(properties)}, ${timeZone ?? 'UTC'}`],
    ['Keeps', retentionText(properties)],
    ['Instant restore', instantDays == null ? undefined : `${instantDays} days`],
    ['Protected VMs', String(properties.protectedItemsCount)],
  ]);
}

export function pathOf(service: Service, { group, name: vault }: Named, policy?: string): string {
  const at = `${service.root}/resourceGroups/${encodeURIComponent(group)}`;
  const vaults = `${at}/providers/Microsoft.RecoveryServices/vaults`;
  const list = `${vaults}/${encodeURIComponent(vault)}/backupPolicies`;
  return policy === undefined ? list : `${list}/${encodeURIComponent(policy)}`;
}
