/**
 * What a change would do to recovery points, before anybody makes it: the plan that is executed then, with the bytes
 * that the repository says it would free, all points together. Changes nothing.
 */
import type { HoldfastError } from '#base';
import { planExpiry } from '#backup';
import { expirablePoints, planItems } from '../expiring/expirable-points.ts';
import { immutableVault } from '../immutability/immutable-vault.ts';
import { refusalOfDeletion, refusalOfItemChange } from '../immutability/refusals.ts';
import { getItem, itemOf, type Item, type ItemName, type VmName } from '../items/items.ts';
import { requireAllowed } from '../items/item-states.ts';
import { requireResumable } from '../items/protect.ts';
import {
  lastPolicyOf,
  policyOfItem,
  retainedPoints,
  softDeleteDays,
} from '../points/planned-points.ts';
import { itemsAfterChange } from '../policies/change-for-items.ts';
import { getPolicy, refusalOfPolicyEdit, type PolicyName } from '../policies/policies.ts';
import { validatePolicy } from '../policy/validate-policy.ts';
import { changedPoints, DAY_MS, type RetentionChange } from '../retention/change.ts';
import { planRetention, type PlannedPoint, type RetainedPoint } from '../retention/plan.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';

type PreviewedPoint = PlannedPoint & {
  /** What becomes of it as things are. */
  readonly before: Pick<PlannedPoint, 'fate' | 'keptBy' | 'expiresAt'>;
};

type PreviewedItem = {
  readonly item: Pick<Item, 'id' | 'vmGroup' | 'vmName'>;
  /** Oldest first. */
  readonly points: readonly PreviewedPoint[];
};

export type Preview = {
  readonly at: number;
  readonly items: readonly PreviewedItem[];
  /** By how much the vault's live data falls when all removed points have gone. */
  readonly freedBytes: number;
  /** By how much more when the soft-deleted ones have gone too. */
  readonly softDeletedBytes: number;
  /** Why the change would be refused (R25, R62); undefined: it would not. */
  readonly refusal: HoldfastError | undefined;
};

type Parts = Pick<ServiceParts, 'catalogue' | 'clock' | 'repositories'>;

/**
 * The policy is changed to `draft`.
 *
 * @throws {HoldfastError} as `putPolicy`, but for what an immutable vault refuses; `BMSUserErrorPolicyNotFound`.
 */
export async function previewPolicyEdit(
  parts: Parts,
  at: PolicyName,
  draft: unknown,
): Promise<Preview> {
  const { read } = parts.catalogue;
  const vault = await getVault(read, at.vault);
  const { id: policyId, name, policy: before } = await getPolicy(read, at);
  const after = validatePolicy(draft, before);
  const now = parts.clock.nowMs();
  const change = { vaultId: vault.id, policyId, before, after, now };
  const changed = await itemsAfterChange(read, change);
  const refusal = await refusalOfPolicyEdit(read, { ...change, policy: name, items: changed });
  const items = changed.map((one) => itemPreview(itemOf(one.row), one));
  return await withBytes(parts, vault.id, { at: now, items, refusal });
}

/**
 * The item gets that policy; a stopped one is resumed by it.
 *
 * @throws {HoldfastError} as `protect` of an item that is there, but for what an immutable vault refuses.
 */
export async function previewPolicySwitch(
  parts: Parts,
  name: ItemName,
  policyName: string,
): Promise<Preview> {
  const { read } = parts.catalogue;
  const item = await getItem(read, name);
  const isStopped = item.state === 'ProtectionStopped' || item.state === 'BackupsSuspended';
  requireAllowed(isStopped ? 'resume' : 'changePolicy', item);
  const { policy } = await getPolicy(read, { vault: name.vault, name: policyName });
  if (isStopped) await requireResumable(parts, { id: item.vaultId }, name);
  const now = parts.clock.nowMs();
  const change: RetentionChange = {
    before: { state: item.state, policy: await policyOfItem(read, item) },
    after: { state: isStopped ? 'Protected' : item.state, policy },
    now,
    softDeleteDays: await softDeleteDays(read, item.vaultId),
  };
  const points = await retainedPoints(read, item.id);
  const changed = { change, before: points, after: changedPoints(points, change) };
  const immutable = await immutableVault(read, item.vaultId);
  const was = change.before.policy ?? (await lastPolicyOf(read, item));
  const policies = { before: was, after: policy };
  const refusal = immutable && refusalOfItemChange(immutable, { item, ...changed, policies });
  const items = [itemPreview(item, changed)];
  return await withBytes(parts, item.vaultId, { at: now, items, refusal });
}

/**
 * What has expired is removed now, of one VM or of all.
 *
 * @throws {HoldfastError} as `startExpiry`.
 */
export async function previewExpiry(
  parts: Parts,
  name: VaultName,
  vm: VmName | undefined,
): Promise<Preview> {
  const { read } = parts.catalogue;
  const vault = await getVault(read, name);
  const itemId = vm === undefined ? undefined : (await getItem(read, { vault: name, vm })).id;
  const now = parts.clock.nowMs();
  const items: PreviewedItem[] = [];
  for await (const { item, points } of planItems(read, vault.id, { now, itemId })) {
    items.push({ item, points: points.map((point) => ({ ...point, before: point })) });
  }
  const going = await expirablePoints(read, vault.id, { now, itemId });
  const removed = going.map(({ point }) => point);
  return await withBytes(parts, vault.id, { at: now, items, removed });
}

/**
 * Protection is stopped and the data deleted.
 *
 * @throws {HoldfastError} as `deleteData`, but for what an immutable vault refuses.
 */
export async function previewDeletion(parts: Parts, name: ItemName): Promise<Preview> {
  const { read } = parts.catalogue;
  const item = await getItem(read, name);
  requireAllowed('delete', item);
  const now = parts.clock.nowMs();
  const days = await softDeleteDays(read, item.vaultId);
  const points = await retainedPoints(read, item.id);
  const policy = await policyOfItem(read, item);
  const retained = { state: item.state, policy };
  const before = planRetention(retained, points, now);
  const immutable = await immutableVault(read, item.vaultId);
  const refusal = immutable && refusalOfDeletion(immutable, { item, retained, points, now });
  const after = before.map((point) => ({ ...point, ...deleted(days, now), before: point }));
  const items = [{ item, points: after }];
  return await withBytes(parts, item.vaultId, { at: now, items, refusal });
}

/** M33 */
function deleted(days: number | undefined, now: number) {
  const by = { keptBy: 'itemSoftDeleted' } as const;
  if (days === undefined) {
    return { ...by, fate: 'removed', expiresAt: now, softDeletedUntil: undefined } as const;
  }
  const until = now + days * DAY_MS;
  return { ...by, fate: 'softDeleted', expiresAt: until, softDeletedUntil: until } as const;
}

function itemPreview(
  item: Item,
  of: {
    readonly change: RetentionChange;
    readonly before: readonly RetainedPoint[];
    readonly after: readonly RetainedPoint[];
  },
): PreviewedItem {
  const { change } = of;
  const before = planRetention(change.before, of.before, change.now);
  const after = planRetention(change.after, of.after, change.now);
  return { item, points: after.map((point, at) => ({ ...point, before: before[at]! })) };
}

async function withBytes(
  { repositories }: Parts,
  vaultId: string,
  of: Pick<Preview, 'at' | 'items'> & {
    readonly refusal?: HoldfastError | undefined;
    readonly removed?: readonly string[];
  },
): Promise<Preview> {
  const { at, items, refusal } = of;
  const idsOf = (fate: PlannedPoint['fate']): readonly string[] =>
    items.flatMap(({ points }) => points.filter((one) => one.fate === fate).map(({ id }) => id));
  const { removed = idsOf('removed') } = of;
  const softDeleted = idsOf('softDeleted');
  return await repositories.use(vaultId, async ({ parts, state }) => {
    const freedBy = async (ids: readonly string[]): Promise<number> => {
      const there = ids.filter((id) => state.points.get(id)?.visible === true);
      return there.length === 0 ? 0 : (await planExpiry(parts, there)).freedBytes;
    };
    const freedBytes = await freedBy(removed);
    const all = softDeleted.length === 0 ? freedBytes : await freedBy([...removed, ...softDeleted]);
    return { at, items, freedBytes, softDeletedBytes: all - freedBytes, refusal };
  });
}
