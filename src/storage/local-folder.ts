/**
 * A store in a folder of a local or network file system with hard links; an object is a file.
 *
 *     <root>/<object name>         finished objects, mode 600, never written again
 *     <root>/.unfinished/…         what is being written (unfinished-put.ts)
 *
 * The steps that make an object atomic and durable are in unfinished-put.ts and folder-tree.ts.
 */
import { lstat, readdir, stat, unlink } from 'node:fs/promises';
import type { Dirent } from 'node:fs';
import { join, resolve } from 'node:path';
import { HoldfastError } from '#base';
import { errnoOf, fileError } from './file-errors.ts';
import { FolderTree } from './folder-tree.ts';
import { LocalWriter } from './local-writer.ts';
import { checkRange, checkSize, objectNotFound } from './object-errors.ts';
import { checkObjectName, checkObjectPrefix, folderOf, isObjectName } from './object-name.ts';
import type {
  ByteRange,
  CreateOutcome,
  ListedObject,
  ObjectStore,
  ObjectWriter,
} from './object-store.ts';
import { OpenFiles } from './open-files.ts';
import {
  beginPut,
  objectNameOfUnfinished,
  publishPut,
  removePut,
  UNFINISHED_FOLDER,
  writeFully,
} from './unfinished-put.ts';

const CREATE_ATTEMPTS = 3;

/** How many files of a folder are looked at together while listing. */
const LIST_BATCH = 64;

export class LocalFolder implements ObjectStore {
  readonly location: string;
  readonly #tree: FolderTree;
  readonly #files = new OpenFiles();

  private constructor(tree: FolderTree) {
    this.location = tree.root;
    this.#tree = tree;
  }

  /**
   * Opens the folder, which must exist; writes nothing.
   *
   * @throws the system's error (ENOENT …) if it cannot be looked at.
   */
  static async open(path: string): Promise<LocalFolder> {
    return new LocalFolder(await FolderTree.open(resolve(path)));
  }

  async createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome> {
    checkObjectName(name);
    // `discardUnfinished` of another process may take the temporary file away: begin again.
    for (let attempt = 1; attempt <= CREATE_ATTEMPTS; attempt++) {
      const outcome = await this.#createOnce(name, bytes);
      if (outcome !== 'discarded') return outcome;
    }
    throw new HoldfastError(
      'StoreFailed',
      `${name} could not be created in ${this.location}: its temporary file disappears`,
      { details: { object: name } },
    );
  }

  async openWriter(name: string): Promise<ObjectWriter> {
    checkObjectName(name);
    return LocalWriter.open(this.#tree, name);
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    checkObjectName(name);
    return this.#read(name, (sizeBytes) => {
      checkRange(this.#place(name), range, sizeBytes);
      return range;
    });
  }

  async read(name: string, { maxBytes }: { readonly maxBytes: number }): Promise<Buffer> {
    checkObjectName(name);
    return this.#read(name, (sizeBytes) => {
      checkSize(this.#place(name), sizeBytes, maxBytes);
      return { offsetBytes: 0, lengthBytes: sizeBytes };
    });
  }

  async size(name: string): Promise<number | undefined> {
    checkObjectName(name);
    try {
      const found = await stat(this.#pathOf(name));
      if (found.isFile()) return found.size;
    } catch (error) {
      if (!isAbsence(error)) throw this.#error(error, `looking for ${name}`, 'read');
    }
    await this.#tree.confirmRoot();
    return undefined;
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name);
    this.#files.drop(this.#pathOf(name));
    try {
      await unlink(this.#pathOf(name));
    } catch (error) {
      if (!isAbsence(error)) throw this.#error(error, `deleting ${name}`, 'write');
      await this.#tree.confirmRoot();
    }
    await this.#syncFolderOf(name);
  }

  async *list(prefix: string): AsyncGenerator<ListedObject> {
    checkObjectPrefix(prefix);
    await this.#tree.confirmRoot();
    yield* this.#walk(folderOf(prefix), prefix);
  }

  async discardUnfinished(prefix: string): Promise<void> {
    checkObjectPrefix(prefix);
    const folder = join(this.location, UNFINISHED_FOLDER);
    for (const file of await this.#entriesOf(UNFINISHED_FOLDER)) {
      if (objectNameOfUnfinished(file.name)?.startsWith(prefix) !== true) continue;
      try {
        await unlink(join(folder, file.name));
      } catch (error) {
        if (!isAbsence(error)) throw this.#error(error, `deleting ${file.name}`, 'write');
      }
    }
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  async #createOnce(name: string, bytes: Uint8Array): Promise<CreateOutcome | 'discarded'> {
    const put = await beginPut(this.#tree, name);
    try {
      await writeFully(put, bytes, 0);
      return await publishPut(this.#tree, put);
    } catch (error) {
      await removePut(put);
      throw error;
    }
  }

  /** Reads the range that `rangeFor` chooses, knowing the size and before anything is allocated. */
  async #read(name: string, rangeFor: (sizeBytes: number) => ByteRange): Promise<Buffer> {
    try {
      return await this.#files.use(this.#pathOf(name), async (handle, stats) => {
        if (!stats.isFile()) throw objectNotFound(this.#place(name));
        const { offsetBytes, lengthBytes } = rangeFor(stats.size);
        const bytes = Buffer.allocUnsafeSlow(lengthBytes);
        let done = 0;
        while (done < lengthBytes) {
          const { bytesRead } = await handle.read(
            bytes,
            done,
            lengthBytes - done,
            offsetBytes + done,
          );
          // The size said there is more: the file was cut while it was read.
          if (bytesRead === 0) {
            checkRange(this.#place(name), { offsetBytes, lengthBytes }, offsetBytes + done);
          }
          done += bytesRead;
        }
        return bytes;
      });
    } catch (error) {
      if (!isAbsence(error)) throw this.#error(error, `reading ${name}`, 'read');
      await this.#tree.confirmRoot();
      throw objectNotFound(this.#place(name));
    }
  }

  async *#walk(folder: string, prefix: string): AsyncGenerator<ListedObject> {
    const found = (await this.#entriesOf(folder))
      .map((entry) => ({ entry, name: folder === '' ? entry.name : `${folder}/${entry.name}` }))
      .filter(({ name }) => isObjectName(name) && name.startsWith(prefix));
    const files = found.filter(({ entry }) => entry.isFile());
    for (let start = 0; start < files.length; start += LIST_BATCH) {
      const batch = files.slice(start, start + LIST_BATCH);
      const listed = await Promise.all(batch.map(({ name }) => this.#look(name)));
      yield* listed.filter((object) => object !== undefined);
    }
    for (const { entry, name } of found) {
      if (entry.isDirectory()) yield* this.#walk(name, prefix);
    }
  }

  /** The entries of a folder; none if it is not there (nothing was put there, or it went away). */
  async #entriesOf(folder: string): Promise<Dirent[]> {
    try {
      return await readdir(join(this.location, folder), { withFileTypes: true });
    } catch (error) {
      if (isAbsence(error)) return [];
      throw this.#error(error, `listing ${folder}`, 'read');
    }
  }

  async #look(name: string): Promise<ListedObject | undefined> {
    try {
      return { name, sizeBytes: (await lstat(this.#pathOf(name))).size };
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw this.#error(error, `looking at ${name}`, 'read');
    }
  }

  /** After a deletion, also of what somebody else deleted a moment ago and may not have synced. */
  async #syncFolderOf(name: string): Promise<void> {
    try {
      await this.#tree.sync(folderOf(name));
    } catch (error) {
      // Without the folder there is nothing in it to make durable.
      if (error instanceof HoldfastError && isAbsence(error.cause)) return;
      throw error;
    }
  }

  #pathOf(name: string): string {
    return join(this.location, name);
  }

  #place(name: string): { name: string; location: string } {
    return { name, location: this.location };
  }

  #error(error: unknown, doing: string, access: 'read' | 'write'): Error {
    return fileError(error, { doing, path: this.location, access });
  }
}

/** Whether the system says that nothing, or no file, has the name. */
function isAbsence(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'EISDIR';
}
