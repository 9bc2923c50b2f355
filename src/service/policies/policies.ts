/** The policies of a vault (R7: a change of one changes all its items). */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { groupRows } from '../consistency-groups/group-rows.ts';
import { immutableVault } from '../immutability/immutable-vault.ts';
import { refusalOfEdit } from '../immutability/refusals.ts';
import { nameKey, parseName } from '../names.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { policyFromJson, policyToJson } from '../policy/policy-json.ts';
import { checkQuota } from '../policy/quotas.ts';
import { validatePolicy } from '../policy/validate-policy.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, requireRevision, type Vault, type VaultName } from '../vaults/vaults.ts';
import { itemsAfterChange, rememberingItems, type ChangedItem } from './change-for-items.ts';
import { newPolicyRow, policyDocument, policyGone } from './policy-records.ts';

const DAY_MS = 86_400_000;
const PUT_POLICY = 'put policy';

export type PolicyName = { readonly vault: VaultName; readonly name: string };

export type VaultPolicy = {
  readonly id: string;
  readonly name: string;
  readonly policy: BackupPolicy;
  readonly itemCount: number;
  readonly revision: number;
};

/** @throws {HoldfastError} `ResourceNotFound` for the vault, `BMSUserErrorPolicyNotFound`. */
export async function getPolicy(reader: CatalogueReader, name: PolicyName): Promise<VaultPolicy> {
  return await policyIn(reader, await getVault(reader, name.vault), name.name);
}

/** By name. */
export async function listPolicies(
  reader: CatalogueReader,
  vault: VaultName,
): Promise<readonly VaultPolicy[]> {
  const { id } = await getVault(reader, vault);
  const rows = await policyRows(reader, id).orderBy('policies.key').execute();
  return rows.map(policyOf);
}

/**
 * Makes the policy, or changes it with all its items: points that are there follow it at once (R22), those that it loses
 * are soft-deleted (R24).
 *
 * @param wanted.draft what was asked for, in the shape of `BackupPolicy`.
 * @throws {HoldfastError} `InvalidResourceName`, `PreconditionFailed`, and as `validatePolicy`; `UserErrorQuotaExceeded`
 *   where the settings have one (R1); in an immutable vault (R25) `UserErrorRetentionReductionOnImmutableVault`, `UserErrorRetentionChangeOfSuspendedItem`.
 */
export async function putPolicy(
  parts: ServiceParts,
  at: PolicyName,
  wanted: { readonly draft: unknown; readonly revision?: number | undefined },
): Promise<VaultPolicy> {
  const name = parseName(at.name, 'policy');
  const vault = await getVault(parts.catalogue.read, at.vault);
  return await changeVault(parts, vault.id, async () => {
    const before = await findPolicy(parts.catalogue.read, vault.id, name);
    if (before !== undefined) requireRevision(before, wanted.revision);
    const policy = validatePolicy(wanted.draft, before?.policy);
    await requireQuotas(parts, vault, before === undefined);
    const body = policyToJson(policy);
    const now = parts.clock.nowMs();
    const changed = await itemsOf(parts, { vaultId: vault.id, before, policy, now });
    const items = rememberingItems(changed);
    const fresh = newPolicyRow({ vaultId: vault.id, name, body, now });
    const row =
      before === undefined
        ? fresh
        : { ...fresh, ...(await rowOf(parts.catalogue.read, before.id)), body, changedAt: now };
    return {
      // The items first: a point that is soft-deleted under a policy that keeps it comes back (decision 0011).
      documents: [...items.documents, policyDocument(row)],
      apply: async (change) => {
        await items.apply(change);
        await noteActivity(parts, change, {
          action: PUT_POLICY,
          target: name,
          detail: detailOf(vault),
        });
        const values = before === undefined ? row : { ...row, revision: before.revision + 1 };
        await change
          .insertInto('policies')
          .values(values)
          .onConflict((known) => known.column('id').doUpdateSet(values))
          .execute();
        await rescheduled(change, row.id);
        return await policyIn(change, vault, name);
      },
    };
  });
}

/** For the activity log. */
function detailOf({ group, name }: Vault): object {
  return { vault: `${group}/${name}` };
}

/** R1. @throws {HoldfastError} `UserErrorQuotaExceeded` */
async function requireQuotas(
  { catalogue, clock, settings }: ServiceParts,
  vault: Vault,
  isNew: boolean,
): Promise<void> {
  const { quotas } = settings;
  if (isNew && quotas.policiesPerVault !== undefined) {
    const policies = await policyRows(catalogue.read, vault.id).execute();
    checkQuota(quotas, 'policiesPerVault', policies.length);
  }
  if (quotas.policyChangesPerDay === undefined) return;
  const { used } = await catalogue.read
    .selectFrom('activities')
    .select(({ fn }) => fn.countAll<number>().as('used'))
    .where('at', '>', clock.nowMs() - DAY_MS)
    .where('action', '=', PUT_POLICY)
    .where('detail', '=', JSON.stringify(detailOf(vault)))
    .executeTakeFirstOrThrow();
  checkQuota(quotas, 'policyChangesPerDay', used);
}

async function itemsOf(
  { catalogue }: ServiceParts,
  of: {
    readonly vaultId: string;
    readonly before: VaultPolicy | undefined;
    readonly policy: BackupPolicy;
    readonly now: number;
  },
): Promise<readonly ChangedItem[]> {
  const { vaultId, before, policy: after, now } = of;
  if (before === undefined) return [];
  const change = { vaultId, policyId: before.id, before: before.policy, after, now };
  const items = await itemsAfterChange(catalogue.read, change);
  const refusal = await refusalOfPolicyEdit(catalogue.read, {
    ...change,
    policy: before.name,
    items,
  });
  if (refusal !== undefined) throw refusal;
  return items;
}

/** What the vault refuses of the change, if it is immutable; undefined: nothing. */
export async function refusalOfPolicyEdit(
  reader: CatalogueReader,
  of: {
    readonly vaultId: string;
    readonly policy: string;
    readonly before: BackupPolicy;
    readonly after: BackupPolicy;
    readonly items: readonly ChangedItem[];
  },
): Promise<HoldfastError | undefined> {
  const vault = await immutableVault(reader, of.vaultId);
  if (vault === undefined) return undefined;
  const items = of.items.map(({ row: item, ...changed }) => ({ item, ...changed }));
  return refusalOfEdit(vault, { ...of, items });
}

/**
 * @returns whether it was there.
 * @throws {HoldfastError} `ResourceNotFound` for the vault; `BMSUserErrorPolicyInUse`.
 */
export async function deletePolicy(parts: ServiceParts, at: PolicyName): Promise<boolean> {
  const vault = await getVault(parts.catalogue.read, at.vault);
  return await changeVault(parts, vault.id, async () => {
    const policy = await findPolicy(parts.catalogue.read, vault.id, at.name);
    if (policy === undefined) return { documents: [], apply: async () => false };
    if (policy.itemCount > 0) {
      throw new HoldfastError(
        'BMSUserErrorPolicyInUse',
        `The policy '${policy.name}' protects ${policy.itemCount} items: give them another one first.`,
      );
    }
    const groups = await groupRows(parts.catalogue.read, vault.id);
    const group = groups.find(({ policyId }) => policyId === policy.id);
    if (group !== undefined) {
      throw new HoldfastError(
        'BMSUserErrorPolicyInUse',
        `The policy '${policy.name}' schedules the consistency group '${group.name}': give it another one first.`,
      );
    }
    return {
      documents: [policyGone(policy.id)],
      apply: async (change) => {
        await change.deleteFrom('policies').where('id', '=', policy.id).execute();
        await noteActivity(parts, change, {
          action: 'delete policy',
          target: policy.name,
          detail: detailOf(vault),
        });
        return true;
      },
    };
  });
}

/** @throws {HoldfastError} `BMSUserErrorPolicyNotFound`. */
async function policyIn(reader: CatalogueReader, vault: Vault, name: string): Promise<VaultPolicy> {
  const found = await findPolicy(reader, vault.id, name);
  if (found !== undefined) return found;
  throw new HoldfastError(
    'BMSUserErrorPolicyNotFound',
    `The vault '${vault.name}' has no backup policy '${name}'.`,
  );
}

async function findPolicy(
  reader: CatalogueReader,
  vaultId: string,
  name: string,
): Promise<VaultPolicy | undefined> {
  const row = await policyRows(reader, vaultId)
    .where('policies.key', '=', nameKey(name))
    .executeTakeFirst();
  return row === undefined ? undefined : policyOf(row);
}

async function rowOf(reader: CatalogueReader, id: string): Promise<Row<'policies'>> {
  const query = reader.selectFrom('policies').selectAll();
  return await query.where('id', '=', id).executeTakeFirstOrThrow();
}

/** Its items' next runs are found anew by the scheduler. */
async function rescheduled(change: CatalogueReader, policyId: string): Promise<void> {
  for (const table of ['items', 'consistencyGroups'] as const) {
    await change
      .updateTable(table)
      .set({ nextRunAt: null })
      .where('policyId', '=', policyId)
      .execute();
  }
}

function policyRows(reader: CatalogueReader, vaultId: string) {
  return reader
    .selectFrom('policies')
    .select(['policies.id', 'policies.name', 'policies.body', 'policies.revision'])
    .select((query) =>
      query
        .selectFrom('items')
        .whereRef('items.policyId', '=', 'policies.id')
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .as('itemCount'),
    )
    .where('policies.vaultId', '=', vaultId);
}

type PolicyRow = Awaited<ReturnType<ReturnType<typeof policyRows>['execute']>>[number];

function policyOf({ body, itemCount, ...row }: PolicyRow): VaultPolicy {
  return { ...row, policy: policyFromJson(body), itemCount: itemCount ?? 0 };
}
