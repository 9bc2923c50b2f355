/**
 * Vaults whose repository could not be opened when the service started. It may remember more than the catalogue does:
 * until it has been taken over, nobody works in it (decision 0008, invariant 2).
 *
 * ```
 *   start ─ cannot be opened ─► out of reach ─ tried again: after a minute, then rarer ─► taken over, as any other
 * ```
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Repositories } from '../repositories/repositories.ts';

export type OutOfReach = {
  /** What opening it failed with. */
  readonly message: string;
  /** Undefined: a fault of Holdfast. */
  readonly code: string | undefined;
  /** When it is tried again, ms; undefined: now. */
  readonly nextTryAt: number | undefined;
};

export type VaultReach = {
  /** By the vault's id. */
  readonly all: () => ReadonlyMap<string, OutOfReach>;
  readonly lost: (vaultId: string, error: unknown) => void;
  readonly reached: (vaultId: string) => void;
  readonly triesAgainAt: (timeMs: number) => void;
  /**
   * Whether the last use found its repository: it may vanish while the service runs. The vault stays open to all then,
   * as the catalogue knows all of it, and each use fails by itself. Once missed, it counts so until a reader opens it.
   */
  readonly couldBeOpened: (vaultId: string) => boolean;
  /** For whoever takes vaults over: they are lent whether in reach or not. */
  readonly repositories: Repositories;
};

export function vaultReach(repositories: Repositories): VaultReach {
  const lost = new Map<string, Omit<OutOfReach, 'nextTryAt'>>();
  const unopened = new Set<string>();
  let nextTryAt: number | undefined;
  return {
    all: () => new Map(Array.from(lost, ([id, why]) => [id, { ...why, nextTryAt }])),
    lost: (vaultId, error) => {
      lost.set(vaultId, reasonOf(error));
    },
    reached: (vaultId) => {
      lost.delete(vaultId);
      unopened.delete(vaultId);
    },
    triesAgainAt: (timeMs) => {
      nextTryAt = timeMs;
    },
    couldBeOpened: (vaultId) => !lost.has(vaultId) && !unopened.has(vaultId),
    repositories: noting(repositories, unopened),
  };
}

/** Held by `holdfast repo`, taking nothing, or the service is stopping: its points are there. */
const CAN_BE_READ = new Set(['RepositoryHeld', 'StoreFull', 'StoreReadOnly', 'Cancelled']);

/** The same repositories; in `unopened` are those whose last use missed them, until a reader has opened them. */
function noting(repositories: Repositories, unopened: Set<string>): Repositories {
  const noteWhere = (vaultId: string, error: unknown, isOpen: boolean): void => {
    const code = reasonOf(error).code ?? '';
    // One that was open may vanish too.
    if (isOpen ? code === 'StoreFailed' : !CAN_BE_READ.has(code)) unopened.add(vaultId);
  };
  const lend =
    (way: 'use' | 'read'): Repositories['use'] =>
    async (vaultId, work, options) => {
      let isOpen = false;
      const noted: typeof work = async (repository) => {
        isOpen = true;
        if (way === 'read') unopened.delete(vaultId);
        return await work(repository);
      };
      try {
        return await repositories[way](vaultId, noted, options);
      } catch (error) {
        noteWhere(vaultId, error, isOpen);
        throw error;
      }
    };
  const remember: Repositories['remember'] = async (vaultId, ...document) => {
    try {
      return await repositories.remember(vaultId, ...document);
    } catch (error) {
      noteWhere(vaultId, error, false);
      throw error;
    }
  };
  return { ...repositories, use: lend('use'), read: lend('read'), remember };
}

/** What opening its repository failed with. */
export function reasonOf(error: unknown): Omit<OutOfReach, 'nextTryAt'> {
  const code = isHoldfastError(error) ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { code, message };
}

/** In one line. */
export function whyOutOfReach({ message, code }: ReturnType<typeof reasonOf>): string {
  return code === undefined ? message : `${message} [${code}]`;
}

/** When it is tried again, for the end of a sentence. */
export function triedAgain({ nextTryAt }: OutOfReach): string {
  const when = nextTryAt === undefined ? 'soon' : `at ${new Date(nextTryAt).toISOString()}`;
  return `it is tried again ${when}, and at once by holdfast doctor`;
}

/**
 * @throws {HoldfastError} `VaultUnavailable` (retryable) for a vault that is out of reach.
 */
export async function requireReachable(
  {
    catalogue,
    reach,
  }: { readonly catalogue: { readonly read: CatalogueReader }; readonly reach: VaultReach },
  vaultId: string,
): Promise<void> {
  const why = reach.all().get(vaultId);
  if (why === undefined) return;
  const query = catalogue.read.selectFrom('vaults').select('name').where('id', '=', vaultId);
  const name = (await query.executeTakeFirst())?.name ?? vaultId;
  throw new HoldfastError(
    'VaultUnavailable',
    `The repository of the vault '${name}' cannot be opened: ${whyOutOfReach(why)}. Mend that; ${triedAgain(why)}.`,
    { details: { vault: name } },
  );
}

/** The same repositories, but none of a vault that is out of reach. */
export function onlyReachable(parts: Parameters<typeof requireReachable>[0]): Repositories {
  const { repositories } = parts.reach;
  return {
    ...repositories,
    use: async (vaultId, work) => {
      await requireReachable(parts, vaultId);
      return await repositories.use(vaultId, work);
    },
    read: async (vaultId, work) => {
      await requireReachable(parts, vaultId);
      return await repositories.read(vaultId, work);
    },
    remember: async (vaultId, document, value) => {
      await requireReachable(parts, vaultId);
      return await repositories.remember(vaultId, document, value);
    },
  };
}
