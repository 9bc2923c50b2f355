/** The folder of a new VM's images and sockets: made for a command, gone again where that leaves nothing in it. */
import { chmod, rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { makeFolders } from '#base';

/** What lies in it has modes of its own; QEMU, as whoever it runs, has to pass through, whatever our umask. */
const PASSABLE = 0o711;

export type VmFolder = {
  readonly directory: string;
  /** The first folder on the way to it that was not there; absent: all were. */
  readonly made?: string;
};

/** Makes it, and folders above it that are not there. One that is there stays as it is. */
export async function makeVmFolder(directory: string): Promise<VmFolder> {
  const made = await makeFolders(directory, { mode: PASSABLE });
  if (made === undefined) return { directory };
  for (const folder of foldersOf({ directory, made })) await chmod(folder, PASSABLE);
  return { directory, made };
}

/** Removes what `makeVmFolder` made, as far as it is empty. */
export async function removeIfEmpty(own: VmFolder): Promise<void> {
  for (const folder of foldersOf(own)) {
    try {
      await rmdir(folder);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EBUSY') return;
      if (code !== 'ENOENT') throw error;
    }
  }
}

/** Makes the folder; where `use` fails, removes it again if it is empty. */
export async function inVmFolder<Result>(
  directory: string,
  use: (folder: VmFolder) => Promise<Result>,
): Promise<Result> {
  const folder = await makeVmFolder(directory);
  try {
    return await use(folder);
  } catch (error) {
    await removeIfEmpty(folder);
    throw error;
  }
}

/** Those that were made, the deepest first. */
function foldersOf({ directory, made }: VmFolder): string[] {
  if (made === undefined) return [];
  const folders = [resolve(directory)];
  while (folders.at(-1) !== resolve(made)) folders.push(dirname(folders.at(-1)!));
  return folders;
}
