/**
 * The folders of a local store: made durable before anything in them is reported durable, synced in
 * groups, and known to be still the ones that were opened (a backup disk may be unmounted meanwhile:
 * its objects are then out of reach, not absent).
 */
import { constants, type BigIntStats } from 'node:fs';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { errnoOf, fileError } from './file-errors.ts';
import { folderOf } from './object-name.ts';

/** Backups are their owner's: even an unencrypted one does not become readable to all by default. */
const FOLDER_MODE = 0o700;

export class FolderTree {
  readonly root: string;
  readonly #identity: string;
  /** Whose the store is, where that is not root and we are. */
  readonly #owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly #ready = new Map<string, Promise<void>>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Promise<void>>();

  private constructor(root: string, { dev, ino, uid, gid }: BigIntStats) {
    this.root = root;
    this.#identity = `${dev}:${ino}`;
    const isForeign = process.getuid?.() === 0 && uid !== 0n;
    this.#owner = isForeign ? { uid: Number(uid), gid: Number(gid) } : undefined;
  }

  /** @throws the system's error if `root` cannot be looked at. */
  static async open(root: string): Promise<FolderTree> {
    return new FolderTree(root, await stat(root, { bigint: true }));
  }

  /** What root makes in the store of somebody else is that user's: else the store were closed to its owner. */
  async give(made: FileHandle): Promise<void> {
    if (this.#owner !== undefined) await made.chown(this.#owner.uid, this.#owner.gid);
  }

  /** @throws {HoldfastError} `StoreFailed` if the root is gone or is another folder than at opening. */
  async confirmRoot(): Promise<void> {
    let found: string | undefined;
    try {
      found = await identityOf(this.root);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw this.#error(error, 'looking at the store');
    }
    if (found === this.#identity) return;
    throw new HoldfastError(
      'StoreFailed',
      `${this.root} is no longer the folder that was opened: mount the storage again`,
      { details: { path: this.root } },
    );
  }

  /**
   * Makes the folder (relative to the root) and its parents durable. A folder that is there already
   * has its parent synced once too: another process may have made it a moment ago.
   */
  ensure(folder: string): Promise<void> {
    if (folder === '') return Promise.resolve();
    const known = this.#ready.get(folder);
    if (known !== undefined) return known;
    const made = this.#make(folder).catch((error: unknown) => {
      this.#ready.delete(folder);
      throw error;
    });
    this.#ready.set(folder, made);
    return made;
  }

  /** Forgets that a folder was made, after it was found missing. */
  forget(folder: string): void {
    for (let gone = folder; gone !== ''; gone = folderOf(gone)) this.#ready.delete(gone);
  }

  /**
   * fsyncs a folder: what was linked or unlinked in it before the call is durable after. Callers that
   * come while one fsync runs share the next.
   */
  sync(folder: string): Promise<void> {
    const waiting = this.#waiting.get(folder);
    if (waiting !== undefined) return waiting;
    const before = this.#running.get(folder) ?? Promise.resolve();
    const mine = before
      .catch(() => undefined) // Its own callers hear of its failure.
      .then(() => {
        this.#waiting.delete(folder);
        const run = this.#syncNow(folder).finally(() => {
          if (this.#running.get(folder) === run) this.#running.delete(folder);
        });
        this.#running.set(folder, run);
        return run;
      });
    this.#waiting.set(folder, mine);
    return mine;
  }

  async #make(folder: string): Promise<void> {
    const parent = folderOf(folder);
    await this.ensure(parent);
    await this.confirmRoot();
    try {
      const path = join(this.root, folder);
      await mkdir(path, { mode: FOLDER_MODE });
      // Its owner may put something else there at any time.
      const handle = await open(path, constants.O_DIRECTORY | constants.O_NOFOLLOW);
      try {
        await this.give(handle);
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw this.#error(error, `making folder ${folder}`);
    }
    await this.sync(parent);
  }

  async #syncNow(folder: string): Promise<void> {
    try {
      const handle = await open(join(this.root, folder), 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EINVAL' || errno === 'ENOTSUP' || errno === 'EOPNOTSUPP') {
        throw new HoldfastError(
          'StoreUnsupported',
          `the file system of ${this.root} cannot make folders durable (fsync): use another one, ` +
            'for example ext4 or xfs',
          { cause: error },
        );
      }
      throw this.#error(error, `making folder ${folder === '' ? '.' : folder} durable`);
    }
  }

  #error(error: unknown, doing: string): Error {
    return fileError(error, { doing, path: this.root, access: 'write' });
  }
}

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
}
