/**
 * A folder for what a command needs while it runs: scratch images and sockets. It is alive while its process is:
 * a kernel lock on a file in it dies with the process. Whoever makes the next one in the same parent removes those
 * of his own that are dead, once nobody has a file in them open: the QEMU of a killed backup still may.
 *
 * ```
 *   holdfast-work-XXXXXX/     others may pass through: QEMU is somebody else
 *     owner                   the lock; the last to be removed
 *     …                       what the command makes
 * ```
 */
import { existsSync } from 'node:fs';
import { chmod, lstat, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { inspectImage } from '#disk';
import { tryLock, type OwnerLock } from '#repository';

const PREFIX = 'holdfast-work-';
const NAME = /^holdfast-work-[A-Za-z0-9]{6}$/;
const LOCK = 'owner';
/** Somebody who sweeps may take a folder for dead in the instant before it is locked. */
const ATTEMPTS = 5;

/**
 * Lends a new folder in `parent` to `use` and deletes it, whatever happens.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if nothing can be made in `parent`.
 */
export async function inScratch<Result>(
  parent: string,
  use: (scratchDir: string) => Promise<Result>,
): Promise<Result> {
  // Before, to have their room; after, as `use` may have ended what a killed backup left in QEMU.
  await removeDeadFolders(parent);
  const { path, lock } = await makeFolder(parent);
  try {
    return await use(path);
  } finally {
    await removeFolder(path, lock);
    await removeDeadFolders(parent);
  }
}

type Owned = { readonly path: string; readonly lock: OwnerLock | undefined };

async function makeFolder(parent: string): Promise<Owned> {
  let last: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    try {
      const path = await mkdtemp(join(parent, PREFIX));
      const lock = takeLock(path);
      if (lock === 'lost') continue;
      await chmod(path, 0o711);
      return { path, lock };
    } catch (error) {
      last = error;
      break;
    }
  }
  const why = last === undefined ? 'others remove it at once' : (last as Error).message;
  throw new HoldfastError(
    'ArgumentInvalid',
    `nothing can be made in the scratch folder ${parent}: name another with --scratch (${why})`,
    { cause: last, details: { folder: parent } },
  );
}

/** Undefined: the file system does not lock, and nobody will ever take the folder for dead. */
function takeLock(path: string): OwnerLock | undefined | 'lost' {
  const file = join(path, LOCK);
  try {
    return tryLock(file) ?? 'lost';
  } catch (error) {
    if (!isHoldfastError(error, 'StoreUnsupported')) throw error;
    return existsSync(file) ? undefined : 'lost';
  }
}

async function removeFolder(path: string, lock: OwnerLock | undefined): Promise<void> {
  try {
    for (const name of await readdir(path)) {
      if (name !== LOCK) await rm(join(path, name), { recursive: true, force: true });
    }
  } finally {
    lock?.release({ remove: true });
  }
  await rm(path, { recursive: true, force: true });
}

async function removeDeadFolders(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []); // Who makes a folder there says what is wrong.
  for (const name of names) {
    if (NAME.test(name)) await removeIfDead(join(parent, name));
  }
}

/** What cannot be looked at, or removed, stays: nothing depends on it. */
async function removeIfDead(path: string): Promise<void> {
  try {
    const { uid, isFolder } = await ownerOf(path);
    if (!isFolder || uid !== process.getuid?.()) return;
    if (!existsSync(join(path, LOCK))) {
      await rmdir(path); // Only an empty one: its process died, or is, between making and locking it.
      return;
    }
    const lock = tryLock(join(path, LOCK));
    if (lock === undefined) return;
    if (await isInUse(path)) lock.release();
    else await removeFolder(path, lock);
  } catch (error) {
    const isExpected = isHoldfastError(error) || (error instanceof Error && 'code' in error);
    if (!isExpected) throw error;
  }
}

async function ownerOf(
  path: string,
): Promise<{ readonly uid: number; readonly isFolder: boolean }> {
  const stats = await lstat(path);
  return { uid: stats.uid, isFolder: stats.isDirectory() };
}

/** Whether a QEMU, of a VM or a tool, has a file in the folder open to write it. */
async function isInUse(folder: string): Promise<boolean> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === LOCK) continue;
    const path = join(entry.parentPath, entry.name);
    // As raw, whatever it is: the lock on the file counts, not its content.
    if ((await inspectImage({ path, format: 'raw' })).isInUse) return true;
  }
  return false;
}
