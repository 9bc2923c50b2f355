/**
 * From what a user named (a folder, later a bucket) to an open repository, and back: the store, the
 * local place beside it, the keys. Whoever opens here gets both closed in the right order.
 */
import { isHoldfastError } from '#base';
import {
  giveUpReserve,
  keepReserve,
  placeInFolder,
  rebuildRepositoryIndex,
  Repository,
  type OpenOptions,
} from '#repository';
import { type ObjectStore, openStore } from '#storage';

/** What the program lends to every operation: time, randomness, who it is, where warnings go. */
export type Caller = Pick<OpenOptions, 'clock' | 'random' | 'version' | 'process' | 'warn'>;

export type RepositoryRequest = Pick<OpenOptions, 'password' | 'access' | 'waitMs' | 'signal'> & {
  /** A folder or its `file://` URL. */
  readonly location: string;
  readonly caller: Caller;
  /** What is done frees space: where there is none left, the repository's reserve is given up for it. */
  readonly freesSpace?: boolean;
};

/**
 * Opens the repository, lends it to `use`, and closes it and its store whatever happens. A folder that
 * cannot be written is opened all the same where `access` is `read`. Where `use` meets damage in the local
 * index, the index is made anew and `use` runs once more.
 *
 * @throws {HoldfastError} as `openStore` and `Repository.open`, and what `use` throws.
 */
export async function withRepository<Result>(
  request: RepositoryRequest,
  use: (repository: Repository) => Promise<Result>,
): Promise<Result> {
  const store = await openExisting(request);
  const options = openOptions(request, store);
  try {
    const repository = await open(request, options);
    tellOfRebuild(repository, request);
    const result = await closingAfter(repository, request, use);
    if (request.access === 'own') await keepReserve(options.place, options.random);
    return result;
  } catch (error) {
    if (!isHoldfastError(error, 'IndexDamaged')) throw error;
    // What failed left nothing half-done.
    request.caller.warn(`the index is damaged and is made anew: ${error.message}`);
    const repository = await Repository.open({ ...options, rebuildsIndex: true });
    return await closingAfter(repository, request, use);
  } finally {
    await store.close();
  }
}

/**
 * Makes the local index anew.
 *
 * @param request.acceptsOlderState gives up what came after the log's end, where the index remembers more.
 * @returns how many records it has.
 * @throws {HoldfastError} as `withRepository`.
 */
export async function rebuildIndexOf(
  request: RepositoryRequest & { readonly acceptsOlderState: boolean },
): Promise<{ readonly records: number }> {
  const { acceptsOlderState } = request;
  const store = await openExisting(request);
  try {
    return await rebuildRepositoryIndex({ ...openOptions(request, store), acceptsOlderState });
  } finally {
    await store.close();
  }
}

async function open(request: RepositoryRequest, options: OpenOptions): Promise<Repository> {
  try {
    const repository = await Repository.open(options);
    // Before the work has taken the room; none is made where it was just given up.
    if (request.access === 'own') await keepReserve(options.place, options.random);
    return repository;
  } catch (error) {
    if (request.freesSpace !== true || !isHoldfastError(error, 'StoreFull')) throw error;
    if (!(await giveUpReserve(options.place))) throw error;
    return await Repository.open(options);
  }
}

async function openExisting({ location, access }: RepositoryRequest): Promise<ObjectStore> {
  if (access === 'own') return await openStore(location);
  try {
    return await openStore(location);
  } catch (error) {
    const isFull = isHoldfastError(error, 'StoreFull');
    if (!isFull && !isHoldfastError(error, 'StoreReadOnly')) throw error;
    return await openStore(location, { readOnly: true });
  }
}

function openOptions(request: RepositoryRequest, store: ObjectStore): OpenOptions {
  const { caller, password, access, waitMs, signal } = request;
  return {
    ...caller,
    store,
    place: placeInFolder(store.location),
    password,
    access,
    waitMs,
    ...(signal === undefined ? {} : { signal }),
  };
}

function tellOfRebuild(repository: Repository, { caller, access }: RepositoryRequest): void {
  const { rebuilt } = repository;
  if (rebuilt === undefined) return;
  if (access === 'read') {
    if (rebuilt.kind === 'older state') caller.warn(rebuilt.reason);
    return;
  }
  if (rebuilt.kind === 'absent' && repository.state.points.size === 0) return;
  caller.warn(`the index was rebuilt from the repository: ${rebuilt.reason}`);
}

/** An error of `use` counts more than one of closing, which is told. */
async function closingAfter<Result>(
  repository: Repository,
  { caller }: RepositoryRequest,
  use: (repository: Repository) => Promise<Result>,
): Promise<Result> {
  let result: Result;
  try {
    result = await use(repository);
  } catch (error) {
    await repository.close().catch((closing: unknown) => {
      // A store that is full or lost fails both for one reason.
      if (isHoldfastError(closing) && isHoldfastError(error, closing.code)) return;
      const why = closing instanceof Error ? closing.message : String(closing);
      caller.warn(`the repository was left open, and is put in order by its next owner: ${why}`);
    });
    throw error;
  }
  await repository.close();
  return result;
}
