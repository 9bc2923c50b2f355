/**
 * What a change would do to recovery points, before anybody makes it: the plan that is executed then, with the bytes
 * that the repository says it would free, all points together. Changes nothing.
 */
import { planExpiry } from '#backup';
import { expirablePoints, planItems } from '../expiring/expirable-points.ts';
import { getItem, itemOf, type Item, type ItemName, type VmName } from '../items/items.ts';
import { requireAllowed } from '../items/item-states.ts';
import { requireResumable } from '../items/protect.ts';
import { policyOfItem, retainedPoints, softDeleteDays } from '../points/planned-points.ts';
import { itemsAfterChange } from '../policies/change-for-items.ts';
import { getPolicy, type PolicyName } from '../policies/policies.ts';
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
};

type Parts = Pick<ServiceParts, 'catalogue' | 'clock' | 'repositories'>;

/**
 * The policy is changed to `draft`.
 *
 * @throws {HoldfastError} as `putPolicy`; `BMSUserErrorPolicyNotFound`.
 */
export async function previewPolicyEdit(
  parts: Parts,
  at: PolicyName,
  draft: unknown,
): Promise<Preview> {
  const { read } = parts.catalogue;
  const vault = await getVault(read, at.vault);
  const { id: policyId, policy: before } = await getPolicy(read, at);
  const after = validatePolicy(draft, before);
  const now = parts.clock.nowMs();
  const change = { vaultId: vault.id, policyId, before, after, now };
  const items = (await itemsAfterChange(read, change)).map((changed) =>
    itemPreview(itemOf(changed.row), changed.change, changed.before),
  );
  return await withBytes(parts, vault.id, { at: now, items });
}

/**
 * The item gets that policy; a stopped one is resumed by it.
 *
 * @throws {HoldfastError} as `protect` of an item that is there.
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
  const items = [itemPreview(item, change, points)];
  return await withBytes(parts, item.vaultId, { at: now, items });
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
 * @throws {HoldfastError} as `deleteData`.
 */
export async function previewDeletion(parts: Parts, name: ItemName): Promise<Preview> {
  const { read } = parts.catalogue;
  const item = await getItem(read, name);
  requireAllowed('delete', item);
  const now = parts.clock.nowMs();
  const days = await softDeleteDays(read, item.vaultId);
  const points = await retainedPoints(read, item.id);
  const policy = await policyOfItem(read, item);
  const before = planRetention({ state: item.state, policy }, points, now);
  const after = before.map((point) => ({ ...point, ...deleted(days, now), before: point }));
  return await withBytes(parts, item.vaultId, { at: now, items: [{ item, points: after }] });
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
  change: RetentionChange,
  points: readonly RetainedPoint[],
): PreviewedItem {
  const before = planRetention(change.before, points, change.now);
  const after = planRetention(change.after, changedPoints(points, change), change.now);
  return { item, points: after.map((point, at) => ({ ...point, before: before[at]! })) };
}

async function withBytes(
  { repositories }: Parts,
  vaultId: string,
  of: Pick<Preview, 'at' | 'items'> & { readonly removed?: readonly string[] },
): Promise<Preview> {
  const { at, items } = of;
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
    return { at, items, freedBytes, softDeletedBytes: all - freedBytes };
  });
}
