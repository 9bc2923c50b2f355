/**
 * Reads fields of JSON that came from a store: unknown until looked at. Every function throws
 * `ObjectDamaged` naming the field, and the caller adds the object's name.
 */

import { HoldfastError } from '#base';

export type JsonRecord = Readonly<Record<string, unknown>>;

/** @throws {HoldfastError} `ObjectDamaged` if the bytes are no JSON object. */
export function parseJsonRecord(bytes: Buffer): JsonRecord {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new HoldfastError('ObjectDamaged', 'it is not JSON', { cause: error });
  }
  return asRecord(value);
}

export function asRecord(value: unknown): JsonRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HoldfastError('ObjectDamaged', 'it is not a JSON object');
  }
  return value as JsonRecord;
}

export function textField(record: JsonRecord, field: string): string {
  const value = record[field];
  if (typeof value !== 'string') throw wrongField(field, 'a text');
  return value;
}

/** An integer of 0 to 2^53 − 1. */
export function countField(record: JsonRecord, field: string): number {
  const value = record[field];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw wrongField(field, 'a whole number');
  }
  return value;
}

/** Lowercase hex; `sizeBytes` undefined: of any length. */
export function hexField(record: JsonRecord, field: string, sizeBytes?: number): Buffer {
  const text = textField(record, field);
  const sizeFits = sizeBytes === undefined || text.length === 2 * sizeBytes;
  if (!sizeFits || text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) {
    throw wrongField(field, sizeBytes === undefined ? 'hex' : `${sizeBytes} bytes in hex`);
  }
  return Buffer.from(text, 'hex');
}

function wrongField(field: string, wanted: string): HoldfastError {
  return new HoldfastError('ObjectDamaged', `its field "${field}" is not ${wanted}`);
}
