/**
 * `$filter` as Azure's clients write it:
 *
 * ```
 *   filter = term { " and " term }       term = key " eq " "'" value "'"       '' within a value is one '
 * ```
 * Dates are texts, `2026-01-31 08:30:00 PM` or ISO 8601, in UTC.
 */
import { DateTime } from 'luxon';
import { Refusal } from './refusal.ts';

export type Filter = {
  /** Without regard to the key's case. */
  readonly get: (key: string) => string | undefined;
  /** Milliseconds since 1970. @throws {Refusal} `InvalidFilter` if the value is no date. */
  readonly date: (key: string) => number | undefined;
};

const TERM = /\s*([A-Za-z][A-Za-z0-9_/]*)\s+eq\s+(?:'((?:[^']|'')*)'|([A-Za-z0-9.:-]+))\s*/iy;
const AND = /and\s/iy;
const DATE_FORMATS = ['yyyy-MM-dd hh:mm:ss a', 'yyyy-M-d h:mm:ss a', 'yyyy-M-d H:mm:ss'] as const;
/** Luxon alone would take 13 PM as well. */
const TWELVE_HOURS = / (?:0?[1-9]|1[0-2]):\d\d:\d\d [AP]M$/;
const ISO_DATE = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * @param known the keys that this list understands: another one is refused, never left out.
 * @throws {Refusal} `InvalidFilter`
 */
export function parseFilter(text: string | undefined, known: readonly string[]): Filter {
  const source = (text ?? '').trim();
  const values = new Map<string, string>();
  for (const { key, value } of termsOf(source)) {
    const name = key.toLowerCase();
    if (!known.some((one) => one.toLowerCase() === name)) {
      throw invalid(source, `'${key}' is none of ${known.join(', ')}`);
    }
    if (values.has(name)) throw invalid(source, `'${key}' is there twice`);
    values.set(name, value);
  }
  const get = (key: string): string | undefined => values.get(key.toLowerCase());
  return {
    get,
    date: (key) => {
      const value = get(key);
      return value === undefined ? undefined : parseDate(value, source);
    },
  };
}

type Term = { readonly key: string; readonly value: string };

function* termsOf(source: string): Generator<Term, undefined> {
  let at = 0;
  while (at < source.length) {
    TERM.lastIndex = at;
    const term = TERM.exec(source);
    if (term === null) throw invalid(source, `it cannot be read at position ${at + 1}`);
    const [all, key = '', quoted, bare = ''] = term;
    yield { key, value: quoted?.replaceAll("''", "'") ?? bare };
    at += all.length;
    if (at === source.length) return;
    AND.lastIndex = at;
    const and = AND.exec(source);
    if (and === null) throw invalid(source, `"and" is expected at position ${at + 1}`);
    at += and[0].length;
    if (at === source.length) throw invalid(source, 'it ends after "and"');
  }
}

function parseDate(value: string, source: string): number {
  const text = value.toUpperCase();
  for (const format of TWELVE_HOURS.test(text) ? DATE_FORMATS : DATE_FORMATS.slice(-1)) {
    const date = DateTime.fromFormat(text, format, { zone: 'utc', locale: 'en-US' });
    if (date.isValid) return date.toMillis();
  }
  const date = DateTime.fromISO(text, { zone: 'utc' });
  if (date.isValid && ISO_DATE.test(text)) return date.toMillis();
  throw invalid(source, `'${value.slice(0, 40)}' is not a date such as 2026-01-31 08:30:00 PM`);
}

function invalid(source: string, why: string): Refusal {
  return new Refusal(
    'InvalidFilter',
    `The $filter "${source.slice(0, 200)}" is not valid: ${why}.`,
  );
}
