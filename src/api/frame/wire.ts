/** What the bodies of several resource types have in common. */
import { DateTime } from 'luxon';
import { z } from 'zod';
import { Refusal } from './refusal.ts';

/** Where everything is. */
export const LOCATION = 'local';

/** Fields that clients send back because we answered them; what is in them changes nothing. */
export const ANSWERED = {
  id: z.unknown().optional(),
  name: z.unknown().optional(),
  type: z.unknown().optional(),
  etag: z.unknown().optional(),
  eTag: z.unknown().optional(),
  systemData: z.unknown().optional(),
};

export const TAGS = z.record(z.string(), z.string()).nullish();

/** Disks of a VM by their logical unit numbers. */
export const DISK_LUNS = z.array(z.int().min(0).max(1023)).max(1024);

export const ON_OFF = z.enum(['Enabled', 'Disabled']);

/** @throws {Refusal} `LocationNotAvailableForResourceType` for another place than `local`. */
export function requireLocation(location: string | undefined): void {
  if (location === undefined || location.toLowerCase().replaceAll(' ', '') === LOCATION) return;
  throw new Refusal(
    'LocationNotAvailableForResourceType',
    `The location '${location.slice(0, 60)}' is not available: the only one here is '${LOCATION}'.`,
  );
}

/**
 * For what Azure has and Holdfast has not: it is refused, never left out.
 *
 * @param isWanted whether the request asks for it.
 * @throws {Refusal} `NotSupported`
 */
export function refuseUnsupported(isWanted: boolean, what: string): void {
  if (isWanted) throw new Refusal('NotSupported', `${what} not supported by Holdfast.`);
}

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?$/;

/**
 * A date and time of a body, ISO 8601; without a zone it is UTC.
 *
 * @returns milliseconds since 1970.
 * @throws {Refusal} `InvalidRequestContent`
 */
export function parseDateTime(text: string, field: string): number {
  const date = DateTime.fromISO(text, { zone: 'utc' });
  if (DATE_TIME.test(text) && date.isValid) return date.toMillis();
  throw new Refusal(
    'InvalidRequestContent',
    `The request content was invalid: '${field}' is not a date and time such as 2026-01-31T20:30:00Z.`,
  );
}
