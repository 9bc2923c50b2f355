/** What opening the repository of a vault failed with, in words for whoever has the vault, not for the plumbing's users. */
import { HoldfastError, isHoldfastError } from '#base';
import { repositoryIdAt } from '#backup';

/** A vault's key is made for its repository alone: these mean that it is not the one. */
const KEY_FITS_NOT = ['PasswordWrong', 'PasswordMissing'] as const;

/**
 * @param expectedId of the vault's repository, hex; undefined: nobody knows it.
 * @returns `RepositoryNotFound` without the advice to make a new one; the same, with both ids, where another repository
 *   lies in its place; any other error as it is.
 */
export async function vaultsError(
  error: unknown,
  { location, expectedId }: { readonly location: string; readonly expectedId: string | undefined },
): Promise<unknown> {
  if (isHoldfastError(error, 'RepositoryNotFound')) {
    const message = error.message.replace(/ To make a new .*$/s, '');
    return new HoldfastError(error.code, message, { cause: error, details: error.details });
  }
  if (!KEY_FITS_NOT.some((code) => isHoldfastError(error, code))) return error;
  const id = await repositoryIdAt(location).catch(() => undefined); // The first error says more.
  if (id === undefined || expectedId === undefined || id === expectedId) return error;
  return new HoldfastError(
    'RepositoryNotFound',
    `another repository lies at ${location}: its id is ${id}, the vault's is ${expectedId}. Is the right disk mounted there?`,
    { cause: error },
  );
}
