/**
 * Temporary files of a local store and how one becomes an object:
 *
 *     .unfinished/packs+ab+7f…~<16 hex>  ──fsync──link──fsync folder──► packs/ab/7f…  ──unlink the first
 *
 * `link` refuses a name that exists, atomically, which `rename` does not. The '+' stands for '/', so
 * that remains can be found by the prefix of their object's name; the suffix keeps processes apart.
 */
import { randomBytes } from 'node:crypto';
import { link, open, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, fileError, linkError } from './file-errors.ts';
import type { FolderTree } from './folder-tree.ts';
import { folderOf } from './object-name.ts';
import type { CreateOutcome } from './object-store.ts';

export const UNFINISHED_FOLDER = '.unfinished';

const FILE_MODE = 0o600;

export type UnfinishedPut = {
  /** The object to be. */
  readonly name: string;
  readonly path: string;
  readonly handle: FileHandle;
};

/** Makes an empty temporary file for object `name`; the caller closes its handle. */
export async function beginPut(tree: FolderTree, name: string): Promise<UnfinishedPut> {
  await tree.ensure(UNFINISHED_FOLDER);
  const file = `${name.replaceAll('/', '+')}~${randomBytes(8).toString('hex')}`;
  const path = join(tree.root, UNFINISHED_FOLDER, file);
  try {
    const handle = await open(path, 'wx', FILE_MODE);
    try {
      await tree.give(handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return { name, path, handle };
  } catch (error) {
    throw fileError(error, {
      doing: `beginning to write ${name}`,
      path: tree.root,
      access: 'write',
    });
  }
}

/** The object name that a file in `.unfinished` was to get, or undefined for a foreign file. */
export function objectNameOfUnfinished(file: string): string | undefined {
  const end = file.lastIndexOf('~');
  return end === -1 ? undefined : file.slice(0, end).replaceAll('+', '/');
}

/** Writes all of `bytes` at `positionBytes`, however many system calls it takes. */
export async function writeFully(
  put: UnfinishedPut,
  bytes: Uint8Array,
  positionBytes: number,
): Promise<void> {
  let done = 0;
  try {
    while (done < bytes.length) {
      const { bytesWritten } = await put.handle.write(
        bytes,
        done,
        bytes.length - done,
        positionBytes + done,
      );
      done += bytesWritten;
    }
  } catch (error) {
    throw fileError(error, {
      doing: `writing ${bytes.length - done} bytes of ${put.name} after ${positionBytes + done}`,
      path: storeOf(put),
      access: 'write',
    });
  }
}

/** Makes what was written so far durable, without giving it a name. */
export async function syncPutData(put: UnfinishedPut): Promise<void> {
  try {
    await put.handle.datasync();
  } catch (error) {
    throw syncError(put, error);
  }
}

/**
 * fsyncs and closes the temporary file, gives it its name, and makes that durable.
 *
 * @returns `'created'`; `'exists'` (durable too) if the name was taken; `'discarded'` if the temporary
 *   file or the folder has been deleted by somebody else: beginning again is safe.
 */
export async function publishPut(
  tree: FolderTree,
  put: UnfinishedPut,
): Promise<CreateOutcome | 'discarded'> {
  try {
    await put.handle.sync();
    await put.handle.close();
  } catch (error) {
    throw syncError(put, error);
  }
  const folder = folderOf(put.name);
  await tree.ensure(folder);
  const outcome = await linkPut(tree, put);
  if (outcome === 'discarded') {
    tree.forget(folder);
    tree.forget(UNFINISHED_FOLDER);
    await removePut(put);
    return outcome;
  }
  await tree.sync(folder);
  await removePut(put);
  return outcome;
}

/** Closes and deletes the temporary file. What cannot be deleted is left to `discardUnfinished`. */
export async function removePut(put: UnfinishedPut): Promise<void> {
  await put.handle.close().catch(() => undefined);
  await unlink(put.path).catch(() => undefined);
}

/** The folder of the store: nobody knows the names of its temporary files. */
function storeOf({ path }: UnfinishedPut): string {
  return dirname(dirname(path));
}

function syncError(put: UnfinishedPut, error: unknown): Error {
  return fileError(error, {
    doing: `making ${put.name} durable`,
    path: storeOf(put),
    access: 'write',
  });
}

async function linkPut(tree: FolderTree, put: UnfinishedPut): Promise<CreateOutcome | 'discarded'> {
  const target = join(tree.root, put.name);
  try {
    await link(put.path, target);
    return 'created';
  } catch (error) {
    const errno = errnoOf(error);
    // NFS repeats a request whose reply was lost, and then refuses our own link.
    if (errno === 'EEXIST') return (await isSameFile(put.path, target)) ? 'created' : 'exists';
    if (errno === 'ENOENT') {
      await tree.confirmRoot();
      return 'discarded';
    }
    throw linkError(error, { doing: `naming ${put.name}`, path: tree.root, access: 'write' });
  }
}

async function isSameFile(path: string, other: string): Promise<boolean> {
  try {
    const [a, b] = await Promise.all([stat(path, { bigint: true }), stat(other, { bigint: true })]);
    return a.dev === b.dev && a.ino === b.ino;
  } catch (error) {
    // Gone meanwhile: whoever deleted it had seen it finished, so it was there.
    if (errnoOf(error) === 'ENOENT') return false;
    throw fileError(error, { doing: 'comparing two files', path: other, access: 'write' });
  }
}
