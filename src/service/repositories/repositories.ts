/**
 * Lends the repositories of vaults, each opened as owner once and shared by whoever works in it (decision 0008,
 * invariant 4).
 *
 * ```
 *   closed ──use──► opening ──► open (n users) ──last user ends──► idle ──settings.repositoryIdleMs──► closed
 *                      └── fails: every waiting user gets the error ──► closed
 * ```
 */
import type { withRepository } from '#backup';

export type OpenRepository = Parameters<Parameters<typeof withRepository>[1]>[0];

type UseOptions = {
  /**
   * What `work` does frees space: where there is none left to open the repository, its reserve is given up for it.
   * Of the service's own repositories only, whether in reach or not; others ask `freeingSpace`.
   */
  readonly freesSpace?: boolean;
};

export type Repositories = {
  /**
   * Lends the vault's repository; it stays open until `work` has ended.
   *
   * Inside `work` there is no other `use` of the vault and no `changeVault`, which waits for its turn and for the
   * repository: one that is about to be closed and opened again would wait for `work`, and `work` for it.
   *
   * @throws {HoldfastError} `RepositoryHeld` (retryable) while the plumbing has it; what opening and `work` throw.
   */
  readonly use: <Result>(
    vaultId: string,
    work: (repository: OpenRepository) => Promise<Result>,
    options?: UseOptions,
  ) => Promise<Result>;

  /**
   * Lends a reader of its own, which sees the repository as it is at this moment; whoever owns it goes on beside.
   *
   * @throws {HoldfastError} what opening and `work` throw.
   */
  readonly read: <Result>(
    vaultId: string,
    work: (repository: OpenRepository) => Promise<Result>,
  ) => Promise<Result>;

  /**
   * Writes a document of the vault (decision 0008, invariant 1); durable on return. For `changeVault`. What is
   * remembered of the vault, its policies and its items decides what goes: it may have the reserve.
   *
   * @param document `vault`, `policy-<id>`, `item-<id>`.
   * @param value JSON; undefined: the document is gone.
   * @returns its revision.
   */
  readonly remember: (vaultId: string, document: string, value: unknown) => Promise<number>;

  /** Closes the vault's repository as soon as nobody works in it; done on return. */
  readonly release: (vaultId: string) => Promise<void>;

  /** Ends use; what is open is closed. Waits for whoever works. */
  readonly close: () => Promise<void>;
};
