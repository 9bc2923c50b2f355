/**
 * Names of objects: lowercase segments joined by '/', the same on every store and file system.
 *
 * A segment consists of a–z, 0–9, '.', '_', '-' and neither begins nor ends with a dot: '..' cannot
 * occur, `.unfinished` beside the objects is no object, and Azure and Windows keep the name. 200
 * characters leave room for a suffix within the 255 bytes of a file name.
 */
import { HoldfastError } from '#base';

const MAX_NAME_LENGTH = 200;
const SEGMENT = '[a-z0-9_-](?:[a-z0-9._-]*[a-z0-9_-])?';
const NAME = new RegExp(`^${SEGMENT}(?:/${SEGMENT})*$`);
const PREFIX = new RegExp(`^(?:${SEGMENT}/)*(?:[a-z0-9_-][a-z0-9._-]*)?$`);

export function isObjectName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && NAME.test(name);
}

/** @throws {HoldfastError} `ArgumentInvalid` unless `name` is the name of an object. */
export function checkObjectName(name: string): void {
  if (!isObjectName(name)) {
    throw new HoldfastError('ArgumentInvalid', `not an object name: ${JSON.stringify(name)}`);
  }
}

/** @throws {HoldfastError} `ArgumentInvalid` unless some object name could begin with `prefix`. */
export function checkObjectPrefix(prefix: string): void {
  if (prefix.length > MAX_NAME_LENGTH || !PREFIX.test(prefix)) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `not a prefix of object names: ${JSON.stringify(prefix)}`,
    );
  }
}

/** The part before the last '/', or '' : the folder that holds the object in a folder store. */
export function folderOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('/')));
}
