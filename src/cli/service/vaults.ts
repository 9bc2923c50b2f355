/** `holdfast vault …`: vaults, each with its repository, and the key to it. */
import type { Vault } from '@azure/arm-recoveryservices';
import { HoldfastError, shellQuoted } from '#base';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { confirm } from './confirm.ts';
import { deletedText, deletedVaultsText } from './deleted-vaults.ts';
import { fullName, type Named } from './names.ts';
import {
  findVault,
  inGroup,
  listDeletedVaults,
  listItems,
  listVaults,
  LOCATION,
  type ServiceVault,
} from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export type VaultChange = {
  readonly softDelete?: SoftDelete;
  readonly softDeleteDays?: number;
  readonly immutability?: Immutability;
  /** Replace all that there are. */
  readonly tags?: Readonly<Record<string, string>>;
};

export type SoftDelete = 'on' | 'off' | 'always';

export type Immutability = 'off' | 'on' | 'locked';

const STATES = { on: 'Enabled', off: 'Disabled', always: 'AlwaysON' } as const;
const IMMUTABILITY = { off: 'Disabled', on: 'Unlocked', locked: 'Locked' } as const;

export async function createVault(
  { service, terminal }: ServiceContext,
  name: string,
  options: VaultChange & { readonly group?: string; readonly repo?: string },
): Promise<void> {
  terminal.announce(`making the vault ${name} and its repository`);
  const at = await inGroup(service, options.group, async (group) => {
    await makeVault(service, { group, name }, options);
    return { group, name };
  });
  const facts = await factsOf(service, await findVault(service, fullName(at)));
  terminal.result(
    facts,
    () =>
      `Vault ${facts.name} in ${facts.group}, its repository in ${facts.repository}.\n${KEY_HINT(facts)}`,
  );
}

async function makeVault(
  service: Service,
  at: Named,
  { repo, ...change }: VaultChange & { readonly repo?: string },
): Promise<void> {
  if (repo === undefined) {
    const { vaults } = await service.vaults();
    const known = await listVaults(service);
    const isThere = known.some((vault) => sameVault(vault, at));
    if (isThere)
      throw new HoldfastError('ResourceExists', `the vault ${fullName(at)} is there already`);
    const body: Vault = {
      location: LOCATION,
      sku: { name: 'Standard' },
      tags: { ...change.tags },
      properties: { publicNetworkAccess: 'Enabled', ...settingsOf(change) },
    };
    await service.ask(async () => await vaults.beginCreateOrUpdateAndWait(at.group, at.name, body));
  } else {
    const body = { properties: { repository: repo }, tags: change.tags ?? {} };
    await service.http.json('PUT', ownPath(service, at), { body });
    const { tags: _, ...settings } = change;
    if (Object.keys(settings).length > 0) await patch(service, at, settings);
  }
}

const KEY_HINT = (vault: Named): string =>
  `Print its recovery key and keep it elsewhere: holdfast vault recovery-key ${shellQuoted(fullName(vault))}`;

function sameVault(one: Named, other: Named): boolean {
  return fullName(one).toLowerCase() === fullName(other).toLowerCase();
}

export async function showVaults({ service, terminal }: ServiceContext): Promise<void> {
  const [vaults, items, deleted] = await Promise.all([
    listVaults(service),
    listItems(service),
    listDeletedVaults(service),
  ]);
  const facts = await Promise.all(vaults.map(async (vault) => await factsOf(service, vault)));
  const shown = facts.map((vault) => ({
    ...vault,
    itemCount: items.filter((item) => sameVault(item.vault, vault)).length,
  }));
  terminal.result({ vaults: shown, deletedVaults: deleted }, () => {
    const gone = deletedVaultsText(deleted);
    if (shown.length === 0) {
      return ['There are no vaults: holdfast vault create NAME', ...gone].join('\n\n');
    }
    const table = formatTable(
      [
        left('VAULT'),
        left('GROUP'),
        right('VMS'),
        left('SOFT DELETE'),
        left('IMMUTABLE'),
        left('REPOSITORY'),
      ],
      shown.map((vault) => [
        vault.name,
        vault.group,
        String(vault.itemCount),
        softDeleteText(vault),
        immutabilityText(vault),
        vault.repository,
      ]),
    );
    const away = shown.flatMap(unreachableText);
    return [table, ...away, ...gone].join('\n\n');
  });
}

export async function showVault(
  { service, terminal }: ServiceContext,
  name?: string,
): Promise<void> {
  const vault = await findVault(service, name);
  const [facts, items] = await Promise.all([
    factsOf(service, vault),
    listItems(service, fullName(vault)),
  ]);
  const shown = { ...facts, itemCount: items.length };
  terminal.result(shown, () => describe(shown));
}

/** What can never be undone is asked about. */
export async function setVault(
  context: ServiceContext,
  name: string,
  { yes, ...change }: VaultChange & { readonly yes?: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const vault = await findVault(service, name);
  if (change.immutability === 'locked') {
    const what = `lock the immutability of the vault ${fullName(vault)} for ever (nobody can delete its data before its time then, or shorten that)`;
    await confirm(context, what, yes);
  }
  if (change.softDelete === 'always') {
    const what = `turn soft delete of the vault ${fullName(vault)} on for ever (nobody can turn it off then)`;
    await confirm(context, what, yes);
  }
  await patch(service, vault, change);
  const facts = await factsOf(service, await findVault(service, fullName(vault)));
  terminal.result(facts, () => describe(facts));
}

export async function deleteVault(
  context: ServiceContext,
  name: string,
  { yes, forgetRepository }: { readonly yes?: boolean; readonly forgetRepository?: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const vault = await findVault(service, name);
  const full = fullName(vault);
  if (forgetRepository === true) return await forgetVault(context, vault, yes);
  const facts = await factsOf(service, vault);
  const end =
    facts.softDelete === 'Disabled'
      ? 'and its repository'
      : `(for ${facts.softDeleteDays} days it can be undeleted)`;
  await confirm(context, `delete the vault ${full} ${end}`, yes);
  const before = new Set((await listDeletedVaults(service)).map(({ id }) => id));
  const { vaults } = await service.vaults();
  await service.ask(async () => await vaults.beginDeleteAndWait(vault.group, vault.name));
  const deleted = (await listDeletedVaults(service)).find(
    (one) => sameVault(one, vault) && !before.has(one.id),
  );
  terminal.result(
    {
      deleted: full,
      ...(deleted === undefined ? {} : { softDeletedUntil: deleted.until, id: deleted.id }),
    },
    () => deletedText(vault, deleted),
  );
}

/** One whose repository is gone: the service refuses any other. */
async function forgetVault(context: ServiceContext, vault: Named, yes?: boolean): Promise<void> {
  const { service, terminal } = context;
  const what = `delete the vault ${fullName(vault)} with its policies, its VMs protected no more, and leave its repository as it is`;
  await confirm(context, what, yes);
  const path = `${ownPath(service, vault)}/forget`;
  const left = (await service.http.json('POST', path)) as Forgotten;
  const { repository, folder } = left;
  terminal.result({ deleted: fullName(vault), repository, folder }, () =>
    [
      `Vault ${fullName(vault)} is deleted. Nothing of its repository ${repository} was touched.`,
      `The sealed key to it stays in ${folder}: should it be found again, remove ${shellQuoted(`${folder}/forgotten`)}`,
      'and restart the service, and the vault is back. If not, delete that folder, too.',
    ].join('\n'),
  );
}

type Forgotten = { readonly repository: string; readonly folder: string };

export async function showRecoveryKey(
  { service, terminal }: ServiceContext,
  name: string | undefined,
): Promise<void> {
  const vault = await findVault(service, name);
  const answer = await service.http.json('POST', `${ownPath(service, vault)}/recoveryKey`);
  const { recoveryKey, repository } = answer as {
    readonly recoveryKey: string;
    readonly repository: string;
  };
  const document = { vault: fullName(vault), repository, recoveryKey };
  terminal.result(document, () => {
    terminal.note(
      `The recovery key of the vault ${fullName(vault)}. Keep it where the machine is not: with it, and\n` +
        `without this service, holdfast repo points ${shellQuoted(repository)} --password-file FILE reads the vault.`,
    );
    return recoveryKey;
  });
}

async function patch(service: Service, { group, name }: Named, change: VaultChange): Promise<void> {
  const { vaults } = await service.vaults();
  const { tags } = change;
  const body = {
    ...(tags === undefined ? {} : { tags: { ...tags } }),
    properties: settingsOf(change),
  };
  await service.ask(async () => await vaults.beginUpdateAndWait(group, name, body));
}

function settingsOf({ softDelete, softDeleteDays, immutability }: VaultChange) {
  const hasSoftDelete = softDelete !== undefined || softDeleteDays !== undefined;
  if (!hasSoftDelete && immutability === undefined) return {};
  const softDeleteSettings = {
    ...(softDelete === undefined ? {} : { softDeleteState: STATES[softDelete] }),
    ...(softDeleteDays === undefined ? {} : { softDeleteRetentionPeriodInDays: softDeleteDays }),
  };
  return {
    securitySettings: {
      ...(hasSoftDelete ? { softDeleteSettings } : {}),
      ...(immutability === undefined
        ? {}
        : { immutabilitySettings: { state: IMMUTABILITY[immutability] } }),
    },
  };
}

type Own = {
  readonly properties: {
    readonly repository: string;
    readonly repositoryId: string;
    readonly hasRecoveryKey: boolean;
    readonly repositoryState: 'Ready' | 'Unreachable';
    /** Why it is unreachable. */
    readonly failure: string | null;
    readonly nextTryTime: string | null;
  };
};

async function factsOf(service: Service, vault: ServiceVault) {
  const { id, name, group, resource } = vault;
  const own = (await service.http.json('GET', ownPath(service, vault))) as Own;
  const { softDeleteSettings, immutabilitySettings } = resource.properties?.securitySettings ?? {};
  const { softDeleteState, softDeleteRetentionPeriodInDays } = softDeleteSettings ?? {};
  return {
    id,
    name,
    group,
    ...own.properties,
    softDelete: softDeleteState ?? 'Enabled',
    softDeleteDays: softDeleteRetentionPeriodInDays,
    immutability: immutabilitySettings?.state ?? 'Disabled',
    tags: resource.tags ?? {},
  };
}

type VaultFacts = Awaited<ReturnType<typeof factsOf>> & { readonly itemCount?: number };

function describe(vault: VaultFacts): string {
  const { name, group, repository, repositoryId, hasRecoveryKey, itemCount, tags, id } = vault;
  const facts = formatFacts([
    ['Vault', name],
    ['Group', group],
    ['Protected VMs', itemCount === undefined ? undefined : String(itemCount)],
    ['Soft delete', softDeleteText(vault)],
    ['Immutable', immutabilityText(vault)],
    ['Repository', repository],
    ['Repository id', repositoryId],
    [
      'Tags',
      Object.entries(tags)
        .map(([tag, value]) => `${tag}=${value}`)
        .join(', '),
    ],
    ['Id', id],
  ]);
  const hint = hasRecoveryKey ? [] : [KEY_HINT(vault)];
  return [facts, ...unreachableText(vault), ...hint].join('\n\n');
}

/** Empty where it can be opened. */
function unreachableText(vault: VaultFacts): readonly string[] {
  const { repositoryState, failure, nextTryTime } = vault;
  if (repositoryState === 'Ready') return [];
  return [
    `The repository of ${fullName(vault)} cannot be opened, and nothing can be done with it: ${failure ?? ''}\n` +
      `It is tried again at ${shortTime(nextTryTime)}; holdfast doctor tries at once.`,
  ];
}

function softDeleteText({ softDelete, softDeleteDays }: VaultFacts): string {
  if (softDelete === 'Disabled') return 'off';
  const always = softDelete === 'Enabled' ? '' : ', always';
  return softDeleteDays === undefined ? `on${always}` : `${softDeleteDays} days${always}`;
}

function immutabilityText({ immutability }: VaultFacts): string {
  if (immutability === 'Disabled') return 'no';
  return immutability === 'Locked' ? 'for ever' : 'yes';
}

function ownPath(service: Service, { group, name }: Named): string {
  const at = `${service.root}/resourceGroups/${encodeURIComponent(group)}`;
  return `${at}/providers/Holdfast.Backup/vaults/${encodeURIComponent(name)}`;
}
