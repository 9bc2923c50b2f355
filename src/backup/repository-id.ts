/** Which repository a folder holds: that needs no key. */
import { readIdentity } from '#repository';
import { openStore } from '#storage';

/**
 * @returns hex, 32 digits.
 * @throws {HoldfastError} `RepositoryNotFound`, `FormatUnsupported`; as `openStore`.
 */
export async function repositoryIdAt(location: string): Promise<string> {
  const store = await openStore(location, { readOnly: true });
  try {
    return (await readIdentity(store)).repository.repositoryId.toString('hex');
  } finally {
    await store.close();
  }
}
