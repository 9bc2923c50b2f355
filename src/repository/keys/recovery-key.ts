/**
 * The printed recovery key: 32 random bytes and the first 3 of the SHA-256 of
 * `holdfast/1/recovery-key` ‖ those bytes, in Crockford's base32 (no I, L, O, U), in groups of four:
 *
 *     HFRK-0123-4567-…   prefix, then 14 groups: 56 digits = 280 bits, none left over
 */

import { HoldfastError } from '#base';

import type { RandomBytes } from './random-bytes.ts';
import { sha256 } from './sha256.ts';

const RECOVERY_KEY_BYTES = 32;

/** `typo`: meant as a recovery key (it has the prefix), but not one as it stands. */
export type ParsedRecoveryKey =
  | { readonly kind: 'key'; readonly key: Buffer }
  | { readonly kind: 'typo'; readonly reason: string }
  | { readonly kind: 'other' };

const PREFIX = 'HFRK';
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const DIGIT_BITS = 5;
const DIGIT_COUNT = 56;
const GROUP_DIGITS = 4;
const CHECKSUM_BYTES = 3;

/** A new recovery key as text to print; it is shown once and stored nowhere. */
export function makeRecoveryKey(random: RandomBytes): string {
  return formatRecoveryKey(random(RECOVERY_KEY_BYTES));
}

export function formatRecoveryKey(key: Buffer): string {
  const digits = encodeBase32(Buffer.concat([key, checksum(key)]));
  const groups = [PREFIX];
  for (let i = 0; i < digits.length; i += GROUP_DIGITS)
    groups.push(digits.slice(i, i + GROUP_DIGITS));
  return groups.join('-');
}

/** Case, spaces and dashes do not matter, nor O for 0, I or L for 1, nor a missing prefix. */
export function parseRecoveryKey(text: string): ParsedRecoveryKey {
  const compact = text.toUpperCase().replaceAll(/[\s\p{Dash}]/gu, '');
  const hasPrefix = compact.startsWith(PREFIX);
  const digits = (hasPrefix ? compact.slice(PREFIX.length) : compact)
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1');
  const decoded = decodeDigits(digits);
  if (Buffer.isBuffer(decoded)) return { kind: 'key', key: decoded };
  return hasPrefix ? { kind: 'typo', reason: decoded } : { kind: 'other' };
}

/** @throws {HoldfastError} `ArgumentInvalid` saying what is wrong with the text. */
export function requireRecoveryKey(text: string): Buffer {
  const parsed = parseRecoveryKey(text);
  if (parsed.kind === 'key') return parsed.key;
  const reason = parsed.kind === 'typo' ? parsed.reason : `it does not begin with ${PREFIX}`;
  throw new HoldfastError('ArgumentInvalid', `not a recovery key: ${reason}`);
}

/** The key, or what is wrong. */
function decodeDigits(digits: string): Buffer | string {
  const wrong = /[^0-9A-HJKMNP-TV-Z]/u.exec(digits)?.[0];
  if (wrong !== undefined) return `"${wrong}" is not a character of a recovery key`;
  if (digits.length !== DIGIT_COUNT) {
    return `it has ${digits.length} of ${DIGIT_COUNT} characters after ${PREFIX}`;
  }
  const bytes = decodeBase32(digits);
  const key = bytes.subarray(0, RECOVERY_KEY_BYTES);
  if (!checksum(key).equals(bytes.subarray(RECOVERY_KEY_BYTES))) {
    return 'its checksum does not match: a character is mistyped or two are swapped';
  }
  return key;
}

function checksum(key: Buffer): Buffer {
  return sha256(Buffer.concat([Buffer.from('holdfast/1/recovery-key'), key])).subarray(
    0,
    CHECKSUM_BYTES,
  );
}

function encodeBase32(bytes: Buffer): string {
  let number = BigInt(`0x${bytes.toString('hex')}`);
  let digits = '';
  for (let i = 0; i < (bytes.length * 8) / DIGIT_BITS; i += 1) {
    digits = DIGITS.charAt(Number(number & 31n)) + digits;
    number >>= 5n;
  }
  return digits;
}

function decodeBase32(digits: string): Buffer {
  let number = 0n;
  for (const digit of digits) number = (number << 5n) | BigInt(DIGITS.indexOf(digit));
  const hexDigits = (digits.length * DIGIT_BITS) / 4;
  return Buffer.from(number.toString(16).padStart(hexDigits, '0'), 'hex');
}
