/**
 * The key slots of a repository, `keys/<slot id>`: any one of them opens it. Slots are created and
 * deleted, never overwritten. One that cannot be read is listed as damaged and keeps no other from
 * opening. Adding and removing log nothing: the caller appends the `key-slot` entry.
 */

import { HoldfastError, isHoldfastError, type Clock } from '#base';
import type { ObjectStore } from '#storage';

import {
  encodeKeySlot,
  isSlotOf,
  makeKeySlot,
  openKeySlot,
  parseKeySlot,
  type KeySlot,
  type KeySlotKdf,
  type ScryptCost,
  type SlotAccess,
} from './key-slot.ts';
import type { Keyring } from './keyring.ts';
import type { RandomBytes } from './random-bytes.ts';
import { parseRecoveryKey, requireRecoveryKey } from './recovery-key.ts';
import type { RepositoryIdentity } from './repository-file.ts';

export type DamagedKeySlot = { readonly name: string; readonly reason: string };

type KeySlots = {
  /** By name. */
  readonly slots: readonly KeySlot[];
  readonly damaged: readonly DamagedKeySlot[];
};

/** What people may know of a slot. */
export type KeySlotSummary = {
  readonly slot: string;
  readonly label: string;
  readonly kdf: KeySlotKdf;
  /** ISO 8601, as its maker's clock said. */
  readonly created: string;
};

export type OpenedRepository = {
  readonly keyring: Keyring;
  /** The slot that opened. */
  readonly slot: KeySlotSummary;
  readonly damaged: readonly DamagedKeySlot[];
};

/** What a new slot shall open with. */
export type NewSlotAccess =
  | { readonly kdf: 'scrypt'; readonly password: string; readonly cost?: ScryptCost }
  | { readonly kdf: 'recovery'; readonly recoveryKey: string }
  | { readonly kdf: 'none' };

const PREFIX = 'keys/';
const NAME = /^keys\/([0-9a-f]{32})$/;
const MAX_SLOT_BYTES = 64 * 1024;
const NOT_INTACT = 'it is changed, or was made without the master key';

/**
 * Reads every slot that the store lists.
 *
 * @throws {HoldfastError} `StoreFailed` if a slot could not be read at all.
 */
async function readKeySlots(store: ObjectStore, repository: RepositoryIdentity): Promise<KeySlots> {
  const names: string[] = [];
  for await (const { name } of store.list(PREFIX)) names.push(name);
  const slots: KeySlot[] = [];
  const damaged: DamagedKeySlot[] = [];
  for (const name of names.toSorted()) {
    const found = await readKeySlot(store, name, repository);
    if (found === undefined) continue;
    if ('reason' in found) damaged.push(found);
    else slots.push(found);
  }
  return { slots, damaged };
}

/**
 * Opens the repository with a password, with a recovery key given as the password, or, where
 * `password` is undefined, through a `none` slot. A password never opens a `none` slot: a store
 * cannot swap a protected repository for an open one of its own making without being noticed.
 *
 * @throws {HoldfastError} `PasswordWrong` naming the slots that were tried; `PasswordMissing`;
 *   `KeySlotInvalid` if no slot is left that could be tried.
 */
export async function openKeyring(options: {
  readonly store: ObjectStore;
  readonly repository: RepositoryIdentity;
  readonly password?: string | undefined;
}): Promise<OpenedRepository> {
  const { store, repository, password } = options;
  const { slots, damaged: unreadable } = await readKeySlots(store, repository);
  const damaged = [...unreadable];
  const tried: KeySlot[] = [];
  for (const { slot, access } of attempts(slots, password)) {
    tried.push(slot);
    try {
      const keyring = await openKeySlot(slot, access);
      if (keyring === undefined) continue;
      // All that was needed is authentic; only its mac is not, and nobody is locked out for that.
      if (!isSlotOf(slot, keyring)) damaged.push({ name: PREFIX + slot.slot, reason: NOT_INTACT });
      return { keyring, slot: summaryOf(slot), damaged };
    } catch (error) {
      if (!isHoldfastError(error, 'KeySlotInvalid')) throw error;
      damaged.push({ name: PREFIX + slot.slot, reason: error.message });
    }
  }
  throw notOpened({ slots, damaged, tried, password, location: store.location });
}

/**
 * Adds a slot to an open repository; each call makes another one.
 *
 * @throws {HoldfastError} `ArgumentInvalid` for an unfit label, cost or recovery key; `PasswordMissing`.
 */
export async function addKeySlot(options: {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly access: NewSlotAccess;
  readonly label: string;
  readonly clock: Clock;
  readonly random: RandomBytes;
}): Promise<KeySlotSummary> {
  const { store, keyring, access, label, clock, random } = options;
  const slot = await makeKeySlot({
    keyring,
    access: slotAccess(access),
    label,
    created: new Date(clock.nowMs()).toISOString(),
    random,
    ...(access.kdf === 'scrypt' && access.cost !== undefined ? { cost: access.cost } : {}),
  });
  const name = PREFIX + slot.slot;
  const bytes = encodeKeySlot(slot);
  const outcome = await store.createIfAbsent(name, bytes);
  if (outcome === 'exists') {
    // The store may have repeated a call of ours that had succeeded; anything else is no chance.
    const present = await store.read(name, { maxBytes: MAX_SLOT_BYTES });
    if (!present.equals(bytes)) throw new HoldfastError('ObjectExists', `${name} exists already`);
  }
  return summaryOf(slot);
}

/**
 * Removes a slot, damaged ones included, if another is left that the keyring's holder made and that is
 * intact. Idempotent. The caller is the repository's owner: two removals at a time could each count
 * on the other's slot.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if no other intact slot is left: nothing was removed.
 */
export async function removeKeySlot(options: {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly slot: string;
}): Promise<void> {
  const { store, keyring, slot } = options;
  const name = PREFIX + slot;
  if (!NAME.test(name)) throw new HoldfastError('ArgumentInvalid', `not a key slot: ${slot}`);
  const { slots } = await readKeySlots(store, keyring);
  const othersOpen = slots.some((other) => other.slot !== slot && isSlotOf(other, keyring));
  if (!othersOpen) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `key slot ${slot} is the last that opens the repository: add another first`,
      { details: { slot } },
    );
  }
  await store.delete(name);
}

/** Slots for people; those that the keyring's holder did not make, or that are broken, as damaged. */
export async function listKeySlots(
  store: ObjectStore,
  keyring: Keyring,
): Promise<{
  readonly slots: readonly KeySlotSummary[];
  readonly damaged: readonly DamagedKeySlot[];
}> {
  const { slots, damaged } = await readKeySlots(store, keyring);
  const forged = slots.filter((slot) => !isSlotOf(slot, keyring));
  return {
    slots: slots.filter((slot) => isSlotOf(slot, keyring)).map(summaryOf),
    damaged: [
      ...damaged,
      ...forged.map(({ slot }) => ({
        name: PREFIX + slot,
        reason: NOT_INTACT,
      })),
    ],
  };
}

async function readKeySlot(
  store: ObjectStore,
  name: string,
  repository: RepositoryIdentity,
): Promise<KeySlot | DamagedKeySlot | undefined> {
  const slotId = NAME.exec(name)?.[1];
  if (slotId === undefined) return { name, reason: 'its name is not that of a key slot' };
  try {
    const bytes = await store.read(name, { maxBytes: MAX_SLOT_BYTES });
    return parseKeySlot(bytes, { slotId, repository });
  } catch (error) {
    if (isHoldfastError(error, 'ObjectNotFound')) return undefined; // removed since it was listed
    if (!isHoldfastError(error, 'ObjectDamaged')) throw error;
    return { name, reason: error.message };
  }
}

type Attempt = { readonly slot: KeySlot; readonly access: SlotAccess };

/** Recovery slots first where the text is a recovery key: they cost nothing to try. */
function attempts(slots: readonly KeySlot[], password: string | undefined): Attempt[] {
  const of = (access: SlotAccess): Attempt[] =>
    slots.filter(({ kdf }) => kdf === access.kdf).map((slot) => ({ slot, access }));
  if (password === undefined) return of({ kdf: 'none' });
  const recovery = parseRecoveryKey(password);
  return [
    ...(recovery.kind === 'key' ? of({ kdf: 'recovery', key: recovery.key }) : []),
    ...(password === '' ? [] : of({ kdf: 'scrypt', password })),
  ];
}

function notOpened(state: {
  readonly slots: readonly KeySlot[];
  readonly damaged: readonly DamagedKeySlot[];
  readonly tried: readonly KeySlot[];
  readonly password: string | undefined;
  readonly location: string;
}): HoldfastError {
  const { slots, damaged, tried, password, location } = state;
  const broken = damaged.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  const alsoBroken = broken === '' ? '' : `; damaged: ${broken}`;
  const usable = slots.filter((slot) => !damaged.some(({ name }) => name === PREFIX + slot.slot));
  if (usable.length === 0) {
    const found = broken === '' ? 'there is none' : broken;
    return new HoldfastError('KeySlotInvalid', `no key slot of ${location} can be used: ${found}`);
  }
  if (password === undefined && usable.every(({ kdf }) => kdf !== 'none')) {
    return new HoldfastError('PasswordMissing', `${location} needs a password or recovery key`);
  }
  if (usable.every(({ kdf }) => kdf === 'none') && password !== undefined) {
    return new HoldfastError(
      'PasswordWrong',
      `${location} is not encrypted, no password opens it: give none${alsoBroken}`,
    );
  }
  const recovery = password === undefined ? undefined : parseRecoveryKey(password);
  const typo =
    recovery?.kind === 'typo' ? `; it looks like a recovery key, but ${recovery.reason}` : '';
  const labels = tried.map(({ slot, label }) => (label === '' ? slot : label)).join(', ');
  return new HoldfastError(
    'PasswordWrong',
    `no key slot of ${location} opens with it (tried: ${labels === '' ? 'none that fits' : labels})${typo}${alsoBroken}`,
    { details: { tried: tried.map(({ slot }) => slot).join(' ') } },
  );
}

function slotAccess(access: NewSlotAccess): SlotAccess {
  if (access.kdf !== 'recovery') return access;
  return { kdf: 'recovery', key: requireRecoveryKey(access.recoveryKey) };
}

function summaryOf({ slot, label, kdf, created }: KeySlot): KeySlotSummary {
  return { slot, label, kdf, created };
}
