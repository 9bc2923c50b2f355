/** Names of resources: unique without regard to case, shown as they were first written. */
import { HoldfastError } from '#base';

/** Everything is in one place. */
export const LOCATION = 'local';

const LETTERS = /^[\p{L}\p{N}_.()-]{1,90}$/u;

/**
 * @param what for the message: "vault".
 * @throws {HoldfastError} `InvalidResourceName`, by Azure's rule for resource groups, the widest of them.
 */
export function parseName(name: string, what: string): string {
  if (LETTERS.test(name) && !name.endsWith('.')) return name;
  throw new HoldfastError(
    'InvalidResourceName',
    `'${name}' cannot be the name of a ${what}: use 1 to 90 letters, digits, and _ - . ( ), not ending in a dot.`,
  );
}

export function nameKey(name: string): string {
  return name.toLowerCase();
}
