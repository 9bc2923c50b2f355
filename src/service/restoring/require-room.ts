/**
 * Whether a storage account's folder has room for what a restore will write: asked before it is accepted. What jobs that
 * have not ended are still to write there is counted: of two restores that do not fit together the second is refused, as
 * waiting would not give it room.
 */
import { Stats } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { HoldfastError } from '#base';
import type { Item } from '../items/items.ts';
import type { Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import {
  getStorageAccount,
  type StorageAccount,
  type StorageAccountName,
} from '../storage-accounts/storage-accounts.ts';
import {
  chosenOf,
  pendingImages,
  storedBytes,
  wholeBytes,
  type PendingImages,
} from './pending-images.ts';

type RoomFor = {
  readonly account: StorageAccountName;
  /** Absent: all disks. */
  readonly luns?: readonly number[] | undefined;
};

/** Restores are accepted one after another, so that each sees those before it: the key of these turns. */
export const ROOM = 'room of storage accounts';

/**
 * Repositories are read only where the folder would not hold the disks written full. What others write there
 * meanwhile is not foreseen.
 *
 * @throws {HoldfastError} `UserErrorStorageAccountFull` with the figures; `StorageAccountUnusable` where its folder
 *   is not there; `ResourceNotFound`.
 */
export async function requireRoom(
  parts: ServiceParts,
  { item, point }: { readonly item: Item; readonly point: Point },
  { account: name, luns }: RoomFor,
): Promise<void> {
  const account = await getStorageAccount(parts.catalogue.read, name);
  const freeBytes = await freeOf(account);
  const disks = chosenOf(point.facts.disks, luns);
  const own = { vaultId: item.vaultId, point: point.id, disks };
  const pending = await pendingImages(parts, account.path);
  const atMost = pending.map((images) => leftOf(images, wholeBytes(images)));
  if (wholeBytes(own) + sum(atMost) <= freeBytes) return;
  const neededBytes = await storedBytes(parts, own);
  const left: number[] = [];
  for (const images of pending) left.push(leftOf(images, await storedBytes(parts, images)));
  const pendingBytes = sum(left);
  if (neededBytes + pendingBytes <= freeBytes) return;
  const others = pending.filter((_, at) => left[at]! > 0).map(({ job }) => job);
  const taken =
    pendingBytes === 0
      ? ''
      : `, of which ${mib(pendingBytes)} MiB are still to be written by ${others.join(', ')}`;
  throw new HoldfastError(
    'UserErrorStorageAccountFull',
    `The storage account '${account.name}' (${account.path}) has ${mib(freeBytes)} MiB free${taken}, and the disks of the ` +
      `recovery point need ${mib(neededBytes)} MiB: free space there, or restore to another account or fewer disks.`,
    { details: { path: account.path, freeBytes, pendingBytes, neededBytes } },
  );
}

function leftOf({ writtenBytes }: PendingImages, bytes: number): number {
  return Math.max(0, bytes - writtenBytes);
}

function sum(all: readonly number[]): number {
  return all.reduce((total, bytes) => total + bytes, 0);
}

async function freeOf({ name, path }: StorageAccount): Promise<number> {
  await requireFolder({ name, path });
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** @throws {HoldfastError} `StorageAccountUnusable` where the account's folder is not there, or is none by now. */
export async function requireFolder({
  name,
  path,
}: Pick<StorageAccount, 'name' | 'path'>): Promise<void> {
  const found = await stat(path).catch((error: unknown) => error);
  if (found instanceof Stats && found.isDirectory()) return;
  const code = found instanceof Error && 'code' in found ? ` (${String(found.code)})` : '';
  throw new HoldfastError(
    'StorageAccountUnusable',
    found instanceof Stats
      ? `${path} of the storage account '${name}' is no folder any more, but a file: move that away, and make the folder again`
      : `The folder ${path} of the storage account '${name}' cannot be used: is its disk mounted?${code}`,
    { ...(found instanceof Error ? { cause: found } : {}), details: { path } },
  );
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}
