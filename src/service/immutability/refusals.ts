/**
 * What an immutable vault refuses, and in which words (R25, R62; decision 0016): decided of the same change that a
 * preview shows and that is then made. Pure; undefined: it is not refused.
 */
import { HoldfastError } from '#base';
import type { BackupPolicy, Duration } from '../policy/backup-policy.ts';
import type { RetentionChange } from '../retention/change.ts';
import { datingBy } from '../retention/expiry-dates.ts';
import type { RetainedItem, RetainedPoint } from '../retention/plan.ts';
import {
  brokenPromise,
  longerPromise,
  promisesOf,
  reducedClass,
  type ChangedPromise,
  type Promised,
} from '../retention/promises.ts';
import type { ImmutableVault } from './immutable-vault.ts';

/** An item with its points, as a change finds and leaves them. */
export type ItemBeforeAndAfter = {
  readonly item: { readonly vmGroup: string; readonly vmName: string };
  readonly change: RetentionChange;
  /** In the same order. */
  readonly before: readonly RetainedPoint[];
  readonly after: readonly RetainedPoint[];
};

type PolicyEdit = {
  readonly policy: string;
  readonly before: BackupPolicy;
  readonly after: BackupPolicy;
  readonly items: readonly ItemBeforeAndAfter[];
};

/**
 * A policy is edited, with or without items: no class less, none shorter, no point's date earlier; nor later for those
 * whose backups are suspended.
 *
 * @returns `UserErrorRetentionReductionOnImmutableVault`, `UserErrorRetentionChangeOfSuspendedItem`.
 */
export function refusalOfEdit(
  vault: ImmutableVault,
  { policy, before, after, items }: PolicyEdit,
): HoldfastError | undefined {
  const reduced = lessOf(vault, `the policy '${policy}'`, { before, after });
  if (reduced !== undefined) return reduced;
  for (const of of items) {
    const broken = brokenPromise(of, of.change);
    if (broken !== undefined) return earlier(vault, of, broken);
  }
  for (const of of items) {
    if (of.change.before.state !== 'BackupsSuspended') continue;
    const longer = longerPromise(of, of.change);
    if (longer !== undefined) return suspended(vault, of, longer);
  }
  return undefined;
}

/**
 * An item gets another policy or state, or other things are remembered of its points.
 *
 * @param of.policies the one that it has, or had until it was stopped, and the one that it gets; absent: that stays.
 * @returns `UserErrorRetentionReductionOnImmutableVault`, `UserErrorOperationDeniedOnImmutableItem`.
 */
export function refusalOfItemChange(
  vault: ImmutableVault,
  of: ItemBeforeAndAfter & {
    readonly policies?: {
      readonly before: BackupPolicy | undefined;
      readonly after: BackupPolicy | undefined;
    };
  },
): HoldfastError | undefined {
  const { change, policies } = of;
  if (change.after.state === 'SoftDeleted') {
    return refusalOfDeletion(vault, {
      item: of.item,
      retained: change.before,
      points: of.before,
      now: change.now,
    });
  }
  const { before, after } = policies ?? {};
  if (before !== undefined && after !== undefined) {
    const reduced = lessOf(vault, calledOf(of), { before, after });
    if (reduced !== undefined) return reduced;
  }
  const broken = brokenPromise(of, change);
  if (broken === undefined) return undefined;
  return policies === undefined ? denied(vault, of, broken) : earlier(vault, of, broken);
}

/** Its data is deleted: not while a point of it is promised. */
export function refusalOfDeletion(
  vault: ImmutableVault,
  of: Pick<ItemBeforeAndAfter, 'item'> & {
    readonly retained: RetainedItem;
    readonly points: readonly RetainedPoint[];
    readonly now: number;
  },
): HoldfastError | undefined {
  const { points, retained, now } = of;
  const dating = retained.dating ?? datingBy(retained.policy);
  const promised = promisesOf(points, { dating, now });
  if (promised.length === 0) return undefined;
  const last = promised.reduce((a, b) => (b.until > a.until ? b : a));
  const others = promised.length - 1;
  const more = others === 0 ? '' : ` (and ${others} more, none for longer)`;
  return new HoldfastError(
    'UserErrorOperationDeniedOnImmutableItem',
    `The data of ${calledOf(of)} cannot be deleted: ${isImmutable(vault)}, and the recovery point ${last.id} is to be ` +
      `kept ${untilText(last)}${more}. Stop its protection and keep the data${otherwise(vault)}.`,
  );
}

function lessOf(
  vault: ImmutableVault,
  who: string,
  policies: { readonly before: BackupPolicy; readonly after: BackupPolicy },
): HoldfastError | undefined {
  const reduced = reducedClass(policies.before, policies.after);
  if (reduced === undefined) return undefined;
  const { class: of, before, after } = reduced;
  const what =
    after === undefined
      ? `no ${of} points, which are kept ${durationText(before)}`
      : `${of} points ${durationText(after)} instead of ${durationText(before)}`;
  return new HoldfastError(
    'UserErrorRetentionReductionOnImmutableVault',
    `Retention is not reduced: ${isImmutable(vault)}, and ${who} would keep ${what}. Keep every class at least as ` +
      `long as now${otherwise(vault)}.`,
  );
}

function earlier(
  vault: ImmutableVault,
  of: Pick<ItemBeforeAndAfter, 'item'>,
  broken: ChangedPromise,
): HoldfastError {
  return new HoldfastError(
    'UserErrorRetentionReductionOnImmutableVault',
    `Retention is not reduced: ${isImmutable(vault)}, and ${changeText(of, broken)}. Keep every point at least as ` +
      `long as now${otherwise(vault)}.`,
  );
}

function denied(
  vault: ImmutableVault,
  of: Pick<ItemBeforeAndAfter, 'item'>,
  broken: ChangedPromise,
): HoldfastError {
  return new HoldfastError(
    'UserErrorOperationDeniedOnImmutableItem',
    `The recovery point ${broken.id} of ${calledOf(of)} is to be kept ${untilText(broken)}, and ${isImmutable(vault)}: ` +
      `nothing lets it go earlier${vault.isLocked ? '' : ', unless the immutability of the vault is turned off first'}.`,
  );
}

function suspended(
  vault: ImmutableVault,
  of: Pick<ItemBeforeAndAfter, 'item'>,
  longer: ChangedPromise,
): HoldfastError {
  return new HoldfastError(
    'UserErrorRetentionChangeOfSuspendedItem',
    `The backups of ${calledOf(of)} are suspended and ${isImmutable(vault)}, and ${changeText(of, longer)}: resume its ` +
      'backups first, or stop its protection for ever.',
  );
}

function changeText(
  of: Pick<ItemBeforeAndAfter, 'item'>,
  { id, until, changedTo }: ChangedPromise,
): string {
  const point = `the recovery point ${id} of ${calledOf(of)} would`;
  const now = untilText({ until });
  return changedTo === undefined
    ? `${point} not be kept any more, which is kept ${now}`
    : `${point} be kept ${untilText({ until: changedTo })} instead of ${now}`;
}

function isImmutable({ name, isLocked }: ImmutableVault): string {
  return `the vault '${name}' is immutable${isLocked ? ' for ever' : ''}`;
}

function otherwise({ isLocked }: ImmutableVault): string {
  return isLocked ? '' : ', or turn the immutability of the vault off first';
}

function calledOf({ item }: Pick<ItemBeforeAndAfter, 'item'>): string {
  return `'${item.vmGroup}/${item.vmName}'`;
}

function durationText({ count, unit }: Duration): string {
  return `${count} ${count === 1 ? unit.slice(0, -1) : unit}`;
}

function untilText({ until }: Pick<Promised, 'until'>): string {
  return until === Infinity
    ? 'for ever, as it is pinned'
    : `until ${new Date(until).toISOString()}`;
}
