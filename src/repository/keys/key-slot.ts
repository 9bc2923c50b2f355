/**
 * One key slot (docs/format.md §4): the keys of the repository, wrapped under a password, a recovery
 * key, or nothing.
 *
 *     password ──scrypt──┐
 *     recovery ──HKDF────┼─► KEK ──AES-256-GCM──► wrapped {idKey, masters}
 *     none ──32 zeros────┘          └ associated data: repository, block size, slot, KDF, salt
 *     mac = HMAC(key `slot` of the newest generation, associated data ‖ nonce ‖ wrapped)
 *
 * The mac lets whoever has the keys open tell a real slot from a forged or broken one without its
 * password. It decides nothing about opening, which the wrapping authenticates. Label and time are for people and authenticated by nothing.
 */

import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  scrypt,
  timingSafeEqual,
} from 'node:crypto';

import { HoldfastError } from '#base';

import {
  countField,
  hexField,
  parseJsonRecord,
  textField,
  asRecord,
  type JsonRecord,
} from './json-fields.ts';
import { KEY_BYTES, Keyring, REPOSITORY_ID_BYTES } from './keyring.ts';
import type { RandomBytes } from './random-bytes.ts';
import type { RepositoryIdentity } from './repository-file.ts';
import { isBlockSize } from './block-size.ts';

export type KeySlotKdf = 'scrypt' | 'recovery' | 'none';

export type ScryptCost = { readonly n: number; readonly r: number; readonly p: number };

/** As stored, checked for shape and bounds but not yet for authenticity. */
export type KeySlot = {
  readonly slot: string;
  readonly label: string;
  readonly kdf: KeySlotKdf;
  readonly cost: ScryptCost;
  readonly created: string;
  readonly repositoryId: Buffer;
  readonly blockSize: number;
  /** The newest generation of the masters within. */
  readonly generation: number;
  readonly salt: Buffer;
  readonly nonce: Buffer;
  readonly wrapped: Buffer;
  readonly mac: Buffer;
};

/** What opens a slot. */
export type SlotAccess =
  | { readonly kdf: 'scrypt'; readonly password: string }
  | { readonly kdf: 'recovery'; readonly key: Buffer }
  | { readonly kdf: 'none' };

/** 0.3 s and 128 MiB for each guess. */
const DEFAULT_SCRYPT_COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 };

const SLOT_ID_BYTES = 16;

const NO_COST: ScryptCost = { n: 0, r: 0, p: 0 };
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAC_BYTES = 32;
const MAX_LABEL_LENGTH = 100;
const MAX_SCRYPT_BYTES = 1024 * 1024 * 1024;

/**
 * Wraps the keyring's keys for `access` in a new slot.
 *
 * @throws {HoldfastError} `ArgumentInvalid` for an unfit label or cost; `PasswordMissing` for an empty
 *   password.
 */
export async function makeKeySlot(options: {
  readonly keyring: Keyring;
  readonly access: SlotAccess;
  readonly label: string;
  readonly created: string;
  readonly random: RandomBytes;
  /** For `scrypt`. */
  readonly cost?: ScryptCost;
}): Promise<KeySlot> {
  const { keyring, access, label, created, random } = options;
  if (label !== readableLabel(label)) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `not a label for a key slot: ${JSON.stringify(label)}`,
    );
  }
  if (access.kdf === 'scrypt' && access.password === '') {
    throw new HoldfastError('PasswordMissing', 'the password is empty');
  }
  const cost = access.kdf === 'scrypt' ? (options.cost ?? DEFAULT_SCRYPT_COST) : NO_COST;
  if (access.kdf === 'scrypt' && !isScryptCost(cost)) {
    throw new HoldfastError('ArgumentInvalid', 'the scrypt cost is out of bounds', {
      details: { ...cost },
    });
  }
  const unwrapped = {
    slot: random(SLOT_ID_BYTES).toString('hex'),
    label,
    kdf: access.kdf,
    cost,
    created,
    repositoryId: keyring.repositoryId,
    blockSize: keyring.blockSize,
    generation: keyring.generation,
    salt: random(SALT_BYTES),
    nonce: random(NONCE_BYTES),
  };
  const kek = await deriveKek(unwrapped, access);
  const cipher = createCipheriv('aes-256-gcm', kek, unwrapped.nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData(unwrapped));
  const ciphertext = cipher.update(encodeKeys(keyring));
  cipher.final();
  const wrapped = Buffer.concat([ciphertext, cipher.getAuthTag()]);
  return { ...unwrapped, wrapped, mac: slotMac({ ...unwrapped, wrapped }, keyring) };
}

/**
 * @returns the keys, or undefined: `access` is not what the slot was made for, or the slot is damaged;
 *   nobody can tell these apart.
 * @throws {HoldfastError} `KeySlotInvalid` if it opens but what it holds is not what was made.
 */
export async function openKeySlot(slot: KeySlot, access: SlotAccess): Promise<Keyring | undefined> {
  const kek = await deriveKek(slot, access);
  const decipher = createDecipheriv('aes-256-gcm', kek, slot.nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(slot));
  decipher.setAuthTag(slot.wrapped.subarray(slot.wrapped.length - TAG_BYTES));
  const plain = decipher.update(slot.wrapped.subarray(0, slot.wrapped.length - TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return decodeKeys(plain, slot);
}

/** Whether a holder of these keys made the slot and every byte that opening needs is unchanged. */
export function isSlotOf(slot: KeySlot, keyring: Keyring): boolean {
  const sameRepository =
    slot.repositoryId.equals(keyring.repositoryId) && slot.blockSize === keyring.blockSize;
  if (!sameRepository || !keyring.hasGeneration(slot.generation)) return false;
  return timingSafeEqual(slot.mac, slotMac(slot, keyring));
}

/** The JSON of §4. */
export function encodeKeySlot(slot: KeySlot): Buffer {
  return Buffer.from(
    `${JSON.stringify(
      {
        slot: slot.slot,
        label: slot.label,
        created: slot.created,
        repository: slot.repositoryId.toString('hex'),
        blockSize: slot.blockSize,
        generation: slot.generation,
        kdf: slot.kdf,
        ...slot.cost,
        salt: slot.salt.toString('hex'),
        nonce: slot.nonce.toString('hex'),
        wrapped: slot.wrapped.toString('hex'),
        mac: slot.mac.toString('hex'),
      },
      undefined,
      2,
    )}\n`,
  );
}

/**
 * @param slotId what the object's name says.
 * @throws {HoldfastError} `ObjectDamaged` with the reason: not the JSON of §4, bounds broken, or a slot
 *   of another name or repository.
 */
export function parseKeySlot(
  bytes: Buffer,
  expected: { readonly slotId: string; readonly repository: RepositoryIdentity },
): KeySlot {
  const record = parseJsonRecord(bytes);
  const slot: KeySlot = {
    slot: textField(record, 'slot'),
    label: readableLabel(record['label']),
    created: readableLabel(record['created']),
    ...kdfFields(record),
    repositoryId: hexField(record, 'repository', REPOSITORY_ID_BYTES),
    blockSize: countField(record, 'blockSize'),
    generation: countField(record, 'generation'),
    salt: hexField(record, 'salt', SALT_BYTES),
    nonce: hexField(record, 'nonce', NONCE_BYTES),
    wrapped: hexField(record, 'wrapped'),
    mac: hexField(record, 'mac', MAC_BYTES),
  };
  const { repository, slotId } = expected;
  if (slot.slot !== slotId) throw shapeError(`it says that it is slot ${slot.slot.slice(0, 64)}`);
  if (slot.wrapped.length <= TAG_BYTES) throw shapeError('its field "wrapped" is too short');
  if (!slot.repositoryId.equals(repository.repositoryId)) {
    throw shapeError(
      `it is of repository ${slot.repositoryId.toString('hex')}, repository.json says ${repository.repositoryId.toString('hex')}`,
    );
  }
  if (slot.blockSize !== repository.blockSize) {
    throw shapeError(
      `it says block size ${slot.blockSize}, repository.json says ${repository.blockSize}`,
    );
  }
  return slot;
}

function kdfFields(record: JsonRecord): { readonly kdf: KeySlotKdf; readonly cost: ScryptCost } {
  const kdf = textField(record, 'kdf');
  if (kdf !== 'scrypt' && kdf !== 'recovery' && kdf !== 'none') {
    throw shapeError('its key derivation is unknown');
  }
  const cost = {
    n: countField(record, 'n'),
    r: countField(record, 'r'),
    p: countField(record, 'p'),
  };
  const fits = kdf === 'scrypt' ? isScryptCost(cost) : cost.n + cost.r + cost.p === 0;
  if (!fits) throw shapeError('its key derivation cost is out of bounds');
  return { kdf, cost };
}

/** Checked before scrypt runs: a slot must not be able to take the machine's memory or hours. */
function isScryptCost({ n, r, p }: ScryptCost): boolean {
  const withinBounds = n >= 2 ** 14 && n <= 2 ** 20 && r >= 1 && r <= 16 && p >= 1 && p <= 4;
  const whole = Number.isInteger(Math.log2(n)) && Number.isInteger(r) && Number.isInteger(p);
  return withinBounds && whole && 128 * n * r <= MAX_SCRYPT_BYTES;
}

type Unwrapped = Omit<KeySlot, 'wrapped' | 'mac'>;

function deriveKek(slot: Unwrapped, access: SlotAccess): Promise<Buffer> {
  switch (access.kdf) {
    case 'scrypt':
      return scryptKek(access.password, slot);
    case 'recovery':
      return Promise.resolve(
        Buffer.from(hkdfSync('sha256', access.key, slot.salt, 'holdfast/1/recovery', KEY_BYTES)),
      );
    case 'none':
      return Promise.resolve(Buffer.alloc(KEY_BYTES));
  }
}

function scryptKek(password: string, slot: Unwrapped): Promise<Buffer> {
  const { n, r, p } = slot.cost;
  const maxmem = 128 * n * r + 128 * r * p + 1024 * 1024;
  return new Promise((resolve, reject) => {
    const secret = Buffer.from(password.normalize('NFKC'), 'utf8');
    scrypt(secret, slot.salt, KEY_BYTES, { N: n, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

function associatedData(slot: Unwrapped): Buffer {
  const { n, r, p } = slot.cost;
  const fields = [
    'holdfast/1/slot',
    slot.repositoryId.toString('hex'),
    slot.blockSize,
    slot.slot,
    slot.generation,
    slot.kdf,
    n,
    r,
    p,
    slot.salt.toString('hex'),
  ];
  return Buffer.from(fields.join('/'), 'utf8');
}

function slotMac(slot: Omit<KeySlot, 'mac'>, keyring: Keyring): Buffer {
  return createHmac('sha256', keyring.sealingKey('slot', slot.generation))
    .update(associatedData(slot))
    .update(slot.nonce)
    .update(slot.wrapped)
    .digest();
}

function encodeKeys(keyring: Keyring): Buffer {
  const { idKey, masters } = keyring.toWorkerData();
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  const byGeneration = masters.map(({ generation, key }) => [String(generation), hex(key)]);
  return Buffer.from(
    JSON.stringify({ idKey: hex(idKey), masters: Object.fromEntries(byGeneration) as unknown }),
  );
}

function decodeKeys(plain: Buffer, slot: KeySlot): Keyring {
  try {
    const record = parseJsonRecord(plain);
    const masterRecord = asRecord(record['masters']);
    const masters = Object.keys(masterRecord).map((generation) => ({
      generation: parseGeneration(generation),
      key: hexField(masterRecord, generation, KEY_BYTES),
    }));
    if (!isBlockSize(slot.blockSize)) throw shapeError('its block size is impossible');
    if (Math.max(0, ...masters.map(({ generation }) => generation)) !== slot.generation) {
      throw shapeError('its newest key is of another generation');
    }
    return Keyring.fromWorkerData({
      repositoryId: slot.repositoryId,
      blockSize: slot.blockSize,
      idKey: hexField(record, 'idKey', KEY_BYTES),
      masters,
    });
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw slotInvalid(slot, error.message, error);
  }
}

function parseGeneration(text: string): number {
  const generation = Number(text);
  const valid = Number.isInteger(generation) && generation >= 1 && generation <= 0xffff_ffff;
  if (!valid || String(generation) !== text) throw shapeError('a key generation is impossible');
  return generation;
}

/** A label as it may be shown: short and without control characters, whatever the object held. */
function readableLabel(label: unknown): string {
  if (typeof label !== 'string') return '';
  return label
    .slice(0, MAX_LABEL_LENGTH)
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}

function slotInvalid(slot: KeySlot, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('KeySlotInvalid', `key slot ${slot.slot} (${slot.label}): ${reason}`, {
    cause,
    details: { slot: slot.slot },
  });
}

function shapeError(reason: string): HoldfastError {
  return new HoldfastError('ObjectDamaged', reason);
}
