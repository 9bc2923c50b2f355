/**
 * Documents: sealed JSON that the service keeps with its data (vault, policies, items, states), so that
 * a new server with the key has them again (DESIGN §3.4, promise 6). The log names the newest revision
 * and its hash, so an older one put back is seen.
 */
import { HoldfastError } from '#base';
import { maxSealedBytes, openJson, sealJson } from '../keys/sealed-object.ts';
import { sha256Hex } from '../keys/sha256.ts';
import { numberedName } from '../log/object-number.ts';
import type { RepositoryParts } from '../repository-parts.ts';

const ID = /^[a-z0-9][a-z0-9-]{0,63}$/;

/**
 * Writes a new revision of the document; it is durable and the newest on return. The revision before it
 * is deleted. Writes of one document come one after another.
 *
 * @param id lowercase letters, digits and dashes.
 * @throws {HoldfastError} `ArgumentInvalid` for an unfit id.
 */
export async function writeDocument(
  parts: RepositoryParts,
  id: string,
  value: unknown,
): Promise<void> {
  if (!ID.test(id)) throw new HoldfastError('ArgumentInvalid', `not a document's id: ${id}`);
  const before = parts.history.state.documents.get(id);
  let revision = (before?.revision ?? 0) + 1;
  // A revision that a dead writer left without its log entry keeps its number.
  while ((await parts.store.size(documentName(id, revision))) !== undefined) revision += 1;
  const name = documentName(id, revision);
  const { keyring, random } = parts;
  const bytes = sealJson({ keyring, kind: 'document', name, value, random });
  if ((await parts.store.createIfAbsent(name, bytes)) === 'exists') {
    throw new HoldfastError('ObjectExists', `${name} is there already`, {
      details: { object: name },
    });
  }
  const hash = sha256Hex(bytes);
  await parts.append(() => ({ type: 'document', document: id, revision, hash }));
  if (before !== undefined) await parts.store.delete(documentName(id, before.revision));
}

/** @throws {HoldfastError} `ObjectNotFound`; `ObjectDamaged` naming the object, also if it is another revision. */
export async function readDocument(parts: RepositoryParts, id: string): Promise<unknown> {
  const newest = parts.history.state.documents.get(id);
  if (newest === undefined) {
    throw new HoldfastError('ObjectNotFound', `there is no document ${id}`, {
      details: { document: id },
    });
  }
  const name = documentName(id, newest.revision);
  const bytes = await parts.store.read(name, { maxBytes: maxSealedBytes('document') });
  if (sha256Hex(bytes) !== newest.hash) {
    throw new HoldfastError('ObjectDamaged', `${name} is not what the log says`, {
      details: { object: name },
    });
  }
  return openJson({ keyring: parts.keyring, kind: 'document', name, bytes });
}

export function documentName(id: string, revision: number): string {
  return numberedName(`documents/${id}/`, revision);
}
