/** The errors that every store reports in the same words. */
import assert from 'node:assert/strict';
import { HoldfastError } from '#base';
import type { ByteRange } from './object-store.ts';

type Place = { readonly name: string; readonly location: string };

export function objectNotFound({ name, location }: Place): HoldfastError {
  return new HoldfastError('ObjectNotFound', `no object ${name} in ${location}`, {
    details: { object: name },
  });
}

export function objectExists({ name, location }: Place): HoldfastError {
  return new HoldfastError('ObjectExists', `object ${name} exists already in ${location}`, {
    details: { object: name },
  });
}

/** @throws {HoldfastError} `ObjectDamaged` if an object of `sizeBytes` does not hold the range. */
export function checkRange(place: Place, range: ByteRange, sizeBytes: number): void {
  const { offsetBytes, lengthBytes } = range;
  assert(Number.isSafeInteger(offsetBytes) && offsetBytes >= 0, 'offsetBytes');
  assert(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0, 'lengthBytes');
  if (offsetBytes + lengthBytes <= sizeBytes) return;
  throw new HoldfastError(
    'ObjectDamaged',
    `object ${place.name} in ${place.location} is ${sizeBytes} bytes, shorter than asked: ` +
      `${lengthBytes} bytes from offset ${offsetBytes}`,
    { details: { object: place.name, offsetBytes, lengthBytes, sizeBytes } },
  );
}

/** @throws {HoldfastError} `ObjectDamaged` if an object of `sizeBytes` is above the caller's limit. */
export function checkSize(place: Place, sizeBytes: number, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new HoldfastError(
    'ObjectDamaged',
    `object ${place.name} in ${place.location} is ${sizeBytes} bytes, above the ${maxBytes} ` +
      'that an object of its kind may have',
    { details: { object: place.name, sizeBytes, maxBytes } },
  );
}
