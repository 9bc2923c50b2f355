import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it that are missing. Node's own way to do so never ends where the system says that a
 * folder cannot be made because it is not there, as below /proc.
 *
 * @returns the first that was made; undefined: all were there.
 * @throws what `mkdir` throws.
 */
export async function makeFolders(
  path: string,
  { mode = 0o777 }: { readonly mode?: number } = {},
): Promise<string | undefined> {
  try {
    return await makeFolder(path, mode);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
  }
  const first = await makeFolders(dirname(path), { mode });
  const own = await makeFolder(path, mode);
  return first ?? own;
}

/** What an error of `makeFolders`, or of looking at a folder, means; the system's own text for rare ones. */
export function whyNoFolder(error: unknown): string {
  const code = codeOf(error);
  if (code === 'EEXIST') return 'it is a file, no folder';
  if (code === 'ENOTDIR') return 'it, or what is above it, is a file, no folder';
  if (code === 'ENOENT') return 'it is not there, and no folder can be made there';
  if (code === 'EROFS') return 'the file system is mounted read-only';
  if (code === 'EACCES' || code === 'EPERM') return 'permission is denied';
  return error instanceof Error ? error.message : String(error);
}

/** @returns undefined: it was there. */
async function makeFolder(path: string, mode: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
    return undefined;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
