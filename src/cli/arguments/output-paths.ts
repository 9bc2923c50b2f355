/** Where a command may write: said before a repository is opened, in words that name the folder. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '#base';

/**
 * That an image can be made or overwritten at `path`.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if its folder is not there, it is a folder itself, or it lies
 *   in the repository.
 */
export function checkOutputPath(path: string, location: string): void {
  const output = resolve(path);
  checkFolderOf(output);
  if (statSync(output, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw invalid(`"${path}" is a folder: name a file in it, such as ${join(path, 'disk.qcow2')}`);
  }
  refuseInsideRepository(output, location);
}

/**
 * That images can be made in the folder `path`, which may be there or not.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if it is a file, the folder that it would lie in is not there, or it
 *   lies in the repository.
 */
export function checkOutputFolder(path: string, location: string): void {
  const folder = resolve(path);
  checkFolderOf(folder);
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats?.isDirectory() === false)
    throw invalid(`"${path}" is a file, and no folder for images`);
  refuseInsideRepository(stats === undefined ? folder : join(folder, 'image'), location);
}

/** @throws {HoldfastError} `ArgumentInvalid`. */
export function refuseInsideRepository(path: string, location: string): void {
  const repository = folderOf(location);
  if (repository === undefined || !existsSync(repository) || !existsSync(dirname(path))) return;
  const folder = realpathSync(dirname(path));
  if (!`${folder}${sep}`.startsWith(`${realpathSync(repository)}${sep}`)) return;
  throw invalid(`"${path}" lies in the repository, which holds its own files only`);
}

/** @throws {HoldfastError} `ArgumentInvalid` if the folder that `path` would lie in is not there. */
function checkFolderOf(path: string): void {
  const folder = dirname(resolve(path));
  if (existsSync(folder)) return;
  throw invalid(`there is no folder "${folder}"`);
}

/** The folder that a location is; undefined: it is no folder. */
export function folderOf(location: string): string | undefined {
  if (location.startsWith('file://')) return fileURLToPath(location);
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(location) ? undefined : resolve(location);
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('ArgumentInvalid', message);
}
