/** What the operations of an open repository share. Made by repository.ts. */
import type { Clock } from '#base';
import type { ObjectStore } from '#storage';
import type { IndexKeeper } from './counting/index-keeper.ts';
import type { EventMaker, History } from './history/history.ts';
import type { Keyring } from './keys/keyring.ts';
import type { RandomBytes } from './keys/random-bytes.ts';

export type RepositoryParts = {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Of Holdfast, for manifests. */
  readonly version: string;
  readonly history: History;
  readonly keeper: IndexKeeper;
  /** Appends in this process's epoch; the index has followed when it resolves. */
  readonly append: (event: EventMaker) => Promise<number | undefined>;
  /** Makes the index durable. */
  readonly flushIndex: () => Promise<void>;
};
