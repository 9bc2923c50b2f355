/** The ways into a repository: passwords and recovery keys, each a key slot that the log remembers. */
import { HoldfastError } from '#base';
import {
  addKeySlot,
  listKeySlots,
  makeRecoveryKey,
  removeKeySlot,
  type KeySlotSummary,
  type NewSlotAccess,
  type Repository,
} from '#repository';

/** The slots, and what is damaged among them, for people. */
export async function listKeys(repository: Repository): ReturnType<typeof listKeySlots> {
  return await listKeySlots(repository.parts.store, repository.parts.keyring);
}

/**
 * Adds a way in and logs it. The repository is open as owner.
 *
 * @throws {HoldfastError} `PasswordMissing`, `ArgumentInvalid` for an unfit label.
 */
export async function addKey(
  repository: Repository,
  access: NewSlotAccess,
  label: string,
): Promise<KeySlotSummary> {
  const { store, keyring, clock, random } = repository.parts;
  const added = await addKeySlot({ store, keyring, access, label, clock, random });
  await repository.parts.append(() => ({
    type: 'key-slot',
    slot: added.slot,
    action: 'added',
    label,
  }));
  return added;
}

/** Adds a slot for a new recovery key. @returns the key, which is stored nowhere: show it once. */
export async function addRecoveryKey(
  repository: Repository,
  label: string,
): Promise<KeySlotSummary & { readonly recoveryKey: string }> {
  const recoveryKey = makeRecoveryKey(repository.parts.random);
  const added = await addKey(repository, { kdf: 'recovery', recoveryKey }, label);
  return { ...added, recoveryKey };
}

/**
 * Removes the slot whose id begins with `idPrefix`, damaged ones included. The repository is open as owner.
 *
 * @returns the whole id.
 * @throws {HoldfastError} `ArgumentInvalid` if no slot or several begin so, or it is the last way in.
 */
export async function removeKey(repository: Repository, idPrefix: string): Promise<string> {
  const { store, keyring } = repository.parts;
  const { slots, damaged } = await listKeySlots(store, keyring);
  const ids = [
    ...slots.map(({ slot }) => slot),
    ...damaged.map(({ name }) => name.slice('keys/'.length)),
  ];
  const found = ids.filter((id) => id.startsWith(idPrefix));
  if (idPrefix === '' || found.length !== 1) {
    const count = found.length === 0 ? 'no key slot begins' : `${found.length} key slots begin`;
    throw new HoldfastError(
      'ArgumentInvalid',
      `${count} with "${idPrefix}": list them with holdfast repo key list`,
    );
  }
  const slot = found[0]!;
  const label = slots.find((known) => known.slot === slot)?.label ?? '';
  await removeKeySlot({ store, keyring, slot });
  await repository.parts.append(() => ({ type: 'key-slot', slot, action: 'removed', label }));
  return slot;
}
