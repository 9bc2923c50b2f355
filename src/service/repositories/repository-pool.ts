/** The repositories of one service (`repositories.ts` has the contract and the drawing). */
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import {
  readDocument,
  withRepository,
  writeDocument,
  type Caller,
  type RepositoryRequest,
} from '#backup';
import type { MasterKey } from '#keyvault';
import type { RecordParts } from '../record-parts.ts';
import type { OpenRepository, Repositories } from './repositories.ts';
import { readVaultFolder } from './vault-folder.ts';
import { vaultsError } from './vaults-error.ts';

export type PoolOptions = Pick<RecordParts, 'clock' | 'settings'> & {
  readonly masterKey: MasterKey;
  /** The folder of vaults' folders. */
  readonly vaults: string;
  readonly caller: Caller;
  /** Of a vault's repository, hex; undefined: the catalogue does not know the vault. */
  readonly repositoryIdOf: (vaultId: string) => Promise<string | undefined>;
};

/** How long an operation waits for `holdfast repo` to be done. */
const HELD_WAIT_MS = 10_000;

/** What is remembered of these decides what goes. */
const DECIDES = /^(vault$|policy-|item-)/;

/** One repository that is open, or about to be. */
type Seat = {
  readonly repository: Promise<OpenRepository>;
  /** Whether its reserve might be given up to open it. */
  readonly freesSpace: boolean;
  users: number;
  readonly closed: Promise<void>;
  /** Lets it close; with damage of the index, the index is made anew before. */
  readonly leave: (damage: unknown) => void;
  /** Closes when its last user goes; the next one opens it again. */
  isLeaving: boolean;
  damage: unknown;
};

export function openRepositories(options: PoolOptions): Repositories {
  const { seats, take, end } = seating(options);

  const use: Repositories['use'] = async (vaultId, work, { freesSpace = false } = {}) => {
    const { seat, repository } = await take({ vaultId, freesSpace });
    try {
      return await work(repository);
    } catch (error) {
      if (isHoldfastError(error, 'IndexDamaged')) {
        seat.damage = error;
        seat.isLeaving = true;
      }
      throw error;
    } finally {
      seat.users -= 1;
      void closeIdle(seat, options);
    }
  };

  return {
    use,
    read: async (vaultId, work) => {
      const reader = await readerOf(options, vaultId);
      return await opening(options, { ...reader, vaultId }, work);
    },
    remember: async (vaultId, document, value) => {
      const write = async ({ parts, state }: OpenRepository): Promise<number> => {
        await writeDocument(parts, document, value ?? null);
        return state.documents.get(document)!.revision;
      };
      return await use(vaultId, write, { freesSpace: DECIDES.test(document) });
    },
    release: async (vaultId) => {
      const seat = seats.get(vaultId);
      if (seat === undefined) return;
      leave(seat);
      await seat.closed;
    },
    close: async () => {
      end();
      const all = [...seats.values()];
      for (const seat of all) leave(seat);
      await Promise.all(all.map(async ({ closed }) => await closed));
    },
  };
}

type Seating = {
  readonly seats: ReadonlyMap<string, Seat>;
  /** Of an open repository; whoever has it counts as one of its users. @throws what opening throws. */
  readonly take: (asked: Asked) => Promise<TakenSeat>;
  readonly end: () => void;
};

type Asked = { readonly vaultId: string; readonly freesSpace: boolean };

type TakenSeat = { readonly seat: Seat; readonly repository: OpenRepository };

function seating(options: PoolOptions): Seating {
  const seats = new Map<string, Seat>();
  let isEnded = false;

  const take = async (vaultId: string, freesSpace: boolean): Promise<Seat> => {
    for (;;) {
      if (isEnded) throw new HoldfastError('Cancelled', 'the service is stopping');
      const seat = seats.get(vaultId);
      if (seat === undefined) break;
      if (!seat.isLeaving) {
        seat.users += 1;
        return seat;
      }
      await seat.closed;
    }
    const seat = sit(options, { vaultId, freesSpace }, () => seats.delete(vaultId));
    seats.set(vaultId, seat);
    return seat;
  };

  /** That others found no room to open it is no answer for what frees space. */
  const takeOpen: Seating['take'] = async ({ vaultId, freesSpace }) => {
    for (;;) {
      const seat = await take(vaultId, freesSpace);
      try {
        const repository = await seat.repository;
        return { seat, repository };
      } catch (error) {
        seat.users -= 1;
        const isFull = isHoldfastError(error, 'StoreFull');
        if (!isFull || !freesSpace || seat.freesSpace) throw error;
        await seat.closed;
      }
    }
  };

  return {
    seats,
    take: takeOpen,
    end: () => {
      isEnded = true;
    },
  };
}

function leave(seat: Seat): void {
  seat.isLeaving = true;
  if (seat.users === 0) seat.leave(seat.damage);
}

async function closeIdle(seat: Seat, { clock, settings }: PoolOptions): Promise<void> {
  if (seat.users > 0) return;
  if (!seat.isLeaving) await clock.sleep(settings.repositoryIdleMs);
  if (seat.users > 0) return;
  leave(seat);
}

function sit(options: PoolOptions, asked: Asked, gone: () => void): Seat {
  const opened = Promise.withResolvers<OpenRepository>();
  const left = Promise.withResolvers<void>();
  const closed = open(options, asked, async (repository) => {
    opened.resolve(repository);
    await left.promise;
  })
    .catch(opened.reject) // After it was opened: what closing left is found by the next owner.
    .finally(gone);
  for (const { promise } of [opened, left]) promise.catch(() => undefined); // Others have it.
  return {
    repository: opened.promise,
    freesSpace: asked.freesSpace,
    users: 1,
    closed,
    leave: (damage) => {
      if (damage === undefined) left.resolve();
      else left.reject(damage);
    },
    isLeaving: false,
    damage: undefined,
  };
}

async function open(
  options: PoolOptions,
  { vaultId, freesSpace }: Asked,
  work: (repository: OpenRepository) => Promise<void>,
): Promise<void> {
  const reader = await readerOf(options, vaultId);
  await opening(options, { ...reader, access: 'own', freesSpace, vaultId }, work);
}

/** What opening fails with is told as of a vault; what the work fails with is thrown as it is. */
async function opening<Result>(
  { repositoryIdOf }: PoolOptions,
  { vaultId, ...request }: RepositoryRequest & { readonly vaultId: string },
  work: (repository: OpenRepository) => Promise<Result>,
): Promise<Result> {
  let isOpen = false;
  try {
    return await withRepository(request, async (repository) => {
      isOpen = true;
      return await work(repository);
    });
  } catch (error) {
    if (isOpen) throw error;
    const { location } = request;
    throw await vaultsError(error, { location, expectedId: await repositoryIdOf(vaultId) });
  }
}

async function readerOf({ masterKey, vaults, caller }: PoolOptions, vaultId: string) {
  const folder = await readVaultFolder(join(vaults, vaultId), { id: vaultId, masterKey });
  const { repository: location, key: password } = folder;
  return { location, password, access: 'read', waitMs: HELD_WAIT_MS, caller } as const;
}

/** Every document of the repository that is not gone, with its revision. */
export async function readDocuments(
  repository: OpenRepository,
): Promise<readonly { readonly id: string; readonly revision: number; readonly value: unknown }[]> {
  const all = [...repository.state.documents];
  const read = await Promise.all(
    all.map(async ([id, { revision }]) => ({
      id,
      revision,
      value: await readDocument(repository.parts, id),
    })),
  );
  return read.filter(({ value }) => value !== null);
}
