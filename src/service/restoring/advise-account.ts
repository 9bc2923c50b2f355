/** Which storage account a restore is to go to, and what it meets there (M38). Decided in account-loads.ts. */
import { HoldfastError, isHoldfastError } from '#base';
import { getItem, type Item, type ItemName } from '../items/items.ts';
import { nameKey } from '../names.ts';
import { getPoint, type Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import {
  accountLoads,
  chooseAccount,
  isIdle,
  warnOfLoad,
  type AccountLoad,
  type Candidate,
} from '../storage-accounts/account-loads.ts';
import {
  getStorageAccount,
  type StorageAccount,
  type StorageAccountName,
} from '../storage-accounts/storage-accounts.ts';
import { requireRoom } from './require-room.ts';
import type { RestoreRequest } from './restore-request.ts';

export type WantedAccount = {
  readonly point: string;
  /** Absent: all disks. */
  readonly luns?: readonly number[] | undefined;
  /** Absent: it is chosen. */
  readonly account?: StorageAccountName | undefined;
};

export type AccountAdvice = {
  readonly account: StorageAccount;
  /** Restores that run or wait there. */
  readonly restores: number;
  /** Absent: no restore is there. */
  readonly warning: string | undefined;
  /** With room, where the account is loaded. */
  readonly idle: StorageAccount | undefined;
};

type Restorable = { readonly item: Item; readonly point: Point };

/**
 * @throws {HoldfastError} `ResourceNotFound` for vault or storage account, or where there is none to choose from;
 *   `BMSUserErrorProtectedItemNotFound`, `BMSUserErrorRecoveryPointNotFound`.
 */
export async function adviseAccount(
  parts: ServiceParts,
  name: ItemName,
  { point: id, luns, account }: WantedAccount,
): Promise<AccountAdvice> {
  const reader = parts.catalogue.read;
  const item = await getItem(reader, name);
  const point = await getPoint(reader, item.id, id);
  if (account !== undefined) await getStorageAccount(reader, account);
  const loads = await accountLoads(parts);
  const chosen =
    account === undefined
      ? chooseAccount(await candidatesOf(parts, { item, point }, { loads, luns }))
      : loads.find((load) => isOf(load, account));
  if (chosen === undefined) {
    throw new HoldfastError('ResourceNotFound', 'There is no storage account to restore to.');
  }
  const idle = await idleBeside(parts, { item, point }, { chosen, loads, luns });
  const { restores } = chosen;
  const warning = warnOfLoad(chosen, idle);
  return { account: chosen.account, restores, warning, idle: idle?.account };
}

/** What a restore that is added now meets at its account; undefined: no other restore. */
export async function loadWarning(
  parts: ServiceParts,
  restorable: Restorable,
  { account, luns }: Pick<RestoreRequest, 'account' | 'luns'>,
): Promise<string | undefined> {
  const loads = await accountLoads(parts);
  const chosen = loads.find((load) => isOf(load, account));
  if (chosen === undefined) return undefined;
  return warnOfLoad(chosen, await idleBeside(parts, restorable, { chosen, loads, luns }));
}

function isOf({ account }: AccountLoad, { group, name }: StorageAccountName): boolean {
  return nameKey(account.group) === nameKey(group) && nameKey(account.name) === nameKey(name);
}

type Loads = {
  readonly loads: readonly AccountLoad[];
  readonly luns?: readonly number[] | undefined;
};

/** Looked for only where it is to be told. */
async function idleBeside(
  parts: ServiceParts,
  restorable: Restorable,
  { chosen, loads, luns }: Loads & { readonly chosen: AccountLoad },
): Promise<AccountLoad | undefined> {
  if (chosen.restores === 0) return undefined;
  const idle = await candidatesOf(parts, restorable, { loads: loads.filter(isIdle), luns });
  return chooseAccount(idle.filter(({ fits }) => fits));
}

async function candidatesOf(
  parts: ServiceParts,
  restorable: Restorable,
  { loads, luns }: Loads,
): Promise<readonly Candidate[]> {
  const candidates: Candidate[] = [];
  for (const load of loads) {
    candidates.push({ ...load, fits: await hasRoom(parts, restorable, { ...load, luns }) });
  }
  return candidates;
}

async function hasRoom(
  parts: ServiceParts,
  restorable: Restorable,
  wanted: Parameters<typeof requireRoom>[2],
): Promise<boolean> {
  try {
    await requireRoom(parts, restorable, wanted);
    return true;
  } catch (error) {
    const codes = [
      'UserErrorStorageAccountFull',
      'StorageAccountUnusable',
      'ResourceNotFound',
    ] as const;
    if (codes.some((code) => isHoldfastError(error, code))) return false;
    throw error;
  }
}
