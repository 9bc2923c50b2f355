/**
 * What somebody does with one recovery point, which Azure has not: pin it, keep it longer, delete it (what its next
 * point still holds is merged into that), have it back. Each is in the activity log.
 */
import { HoldfastError } from '#base';
import { noteItemActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { addExpiry } from '../expiring/start-expiry.ts';
import { immutableVault } from '../immutability/immutable-vault.ts';
import { changeItem } from '../items/change-item.ts';
import { getItem, type Item, type ItemName } from '../items/items.ts';
import { requireAllowed } from '../items/item-states.ts';
import { DAY_MS } from '../retention/change.ts';
import { datingBy } from '../retention/expiry-dates.ts';
import { dateOf, newestOf } from '../retention/plan.ts';
import type { PointRetention } from '../retention/point-retention.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault } from '../vaults/vaults.ts';
import { getShownPoint, policyOfItem, softDeleteDays, type ShownPoint } from './planned-points.ts';
import { listPoints } from './points.ts';

export type PointName = ItemName & { readonly point: string };

const LONGEST_MS = 99 * 366 * DAY_MS;

/**
 * The point is kept until it is unpinned. Idempotent.
 *
 * @throws {HoldfastError} as `getItem`; `BMSUserErrorRecoveryPointNotFound`; `UserErrorItemSoftDeleted`,
 *   `UserErrorRecoveryPointSoftDeleted`. So do the others.
 */
export async function pinPoint(parts: ServiceParts, name: PointName): Promise<void> {
  await changePoint(parts, { ...name, action: 'pin recovery point' }, async ({ shown }) => {
    requireThere(shown);
    return { retention: { ...shown.point.retention, isPinned: true } };
  });
}

/** Its rules keep it again; if its time has passed, the next look removes it. Idempotent. */
export async function unpinPoint(parts: ServiceParts, name: PointName): Promise<void> {
  await changePoint(parts, { ...name, action: 'unpin recovery point' }, async ({ shown }) => {
    const { isPinned: _, ...rest } = shown.point.retention;
    return { retention: rest };
  });
}

/**
 * The point does not expire before that instant, whatever its policy says.
 *
 * @throws {HoldfastError} `UserErrorInvalidRecoveryPointExpiry` for a date that is not later than the one it has, or
 *   more than 99 years ahead.
 */
export async function extendPoint(
  parts: ServiceParts,
  name: PointName,
  until: number,
): Promise<void> {
  const now = parts.clock.nowMs();
  await changePoint(
    parts,
    { ...name, action: 'extend recovery point' },
    async ({ shown, item }) => {
      requireThere(shown);
      const policy = await policyOfItem(parts.catalogue.read, item);
      const before = dateOf(datingBy(policy), shown.point).until ?? now;
      if (!(until > Math.max(before, now) && until <= now + LONGEST_MS)) {
        throw new HoldfastError(
          'UserErrorInvalidRecoveryPointExpiry',
          `The recovery point ${name.point} is kept until ${iso(before)}: name a later date, at most 99 years ahead; ` +
            `it is ${iso(until)}.`,
        );
      }
      return {
        retention: { ...shown.point.retention, extendedTo: until },
        detail: { until: iso(until) },
      };
    },
  );
}

/**
 * Deletes the point: with soft delete it stays restorable for the vault's days, else a job removes it at once.
 *
 * @returns the job, where there is one.
 * @throws {HoldfastError} `UserErrorLastRecoveryPoint` for the newest (R32); `UserErrorRecoveryPointPinned`.
 */
export async function deletePoint(
  parts: ServiceParts,
  name: PointName,
): Promise<{ readonly jobId: string | undefined }> {
  const { read } = parts.catalogue;
  const vault = await getVault(read, name.vault);
  const jobId = await changePoint(
    parts,
    { ...name, action: 'delete recovery point' },
    async (of) => {
      const { shown, item, isNewest } = of;
      requireThere(shown);
      if (isNewest) {
        throw new HoldfastError(
          'UserErrorLastRecoveryPoint',
          `The recovery point ${name.point} is the newest of '${item.vmGroup}/${item.vmName}', which is always kept: ` +
            'back it up first, or stop its protection and delete its data.',
        );
      }
      if (shown.point.retention.isPinned === true) {
        throw new HoldfastError(
          'UserErrorRecoveryPointPinned',
          (await immutableVault(read, item.vaultId)) === undefined
            ? `The recovery point ${name.point} is pinned: unpin it first.`
            : `The recovery point ${name.point} is pinned, and its vault is immutable: it stays.`,
        );
      }
      const days = await softDeleteDays(read, item.vaultId);
      const until = parts.clock.nowMs() + (days ?? 0) * DAY_MS;
      const expires = async (change: CatalogueChange) =>
        await addExpiry(parts, change, {
          vault,
          itemId: item.id,
          point: name.point,
          isUserTriggered: true,
        });
      return {
        retention: { ...shown.point.retention, lost: { until, by: 'hand' } },
        detail: { softDeletedUntil: days === undefined ? null : iso(until) },
        ...(days === undefined ? { also: expires } : {}),
      };
    },
  );
  return { jobId };
}

/** A soft-deleted point that was deleted by hand is back; its rules keep it again. */
export async function undeletePoint(parts: ServiceParts, name: PointName): Promise<void> {
  await changePoint(parts, { ...name, action: 'undelete recovery point' }, async ({ shown }) => {
    const { lost, ...rest } = shown.point.retention;
    if (lost?.by !== 'hand') {
      throw new HoldfastError(
        'UserErrorRecoveryPointNotDeleted',
        shown.plan.fate === 'softDeleted'
          ? `The recovery point ${name.point} was lost by a change of its policy: raise the retention, and it is back.`
          : `The recovery point ${name.point} is not deleted.`,
      );
    }
    return { retention: rest };
  });
}

type Seen = {
  readonly item: Item;
  readonly shown: ShownPoint;
  readonly isNewest: boolean;
};

type PointChange = {
  readonly retention: PointRetention;
  /** For the activity log. */
  readonly detail?: object;
  readonly also?: (change: CatalogueChange) => Promise<string>;
};

async function changePoint(
  parts: ServiceParts,
  { action, ...name }: PointName & { readonly action: string },
  decide: (of: Seen) => Promise<PointChange>,
): Promise<string | undefined> {
  const { catalogue } = parts;
  return await changeItem(parts, await getItem(catalogue.read, name), async (item) => {
    requireAllowed('holdPoint', item);
    const shown = await getShownPoint(parts, item, name.point);
    const newest = newestOf(await listPoints(catalogue.read, item.id), parts.clock.nowMs());
    const isNewest = newest?.id === name.point;
    const { retention, detail = {}, also } = await decide({ item, shown, isNewest });
    return {
      item: {},
      retention: new Map([[name.point, retention]]),
      also: async (change) => {
        const of = { item: item.id, action, detail: { point: name.point, ...detail } };
        await noteItemActivity(parts, change, of);
        return await also?.(change);
      },
    };
  });
}

function requireThere({ point, plan }: ShownPoint): void {
  if (plan.fate !== 'softDeleted') return;
  throw new HoldfastError(
    'UserErrorRecoveryPointSoftDeleted',
    `The recovery point ${point.id} is soft-deleted: ${
      plan.keptBy === 'deletedByHand' ? 'undelete it' : "raise its policy's retention"
    } first.`,
  );
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
