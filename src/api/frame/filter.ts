/**
 * `$filter` as Azure's clients write it:
 *
 * ```
 *   filter = term { " and " term }       term = key " eq " "'" value "'"       '' within a value is one '
 * ```
 * Dates are texts, `2026-01-31 08:30:00 PM` or ISO 8601, in UTC.
 */
import { Refusal } from './refusal.ts';

export type Filter = {
  /** Without regard to the key's case. */
  readonly get: (key: string) => string | undefined;
  /** Milliseconds since 1970. @throws {Refusal} `InvalidFilter` if the value is no date. */
  readonly date: (key: string) => number | undefined;
};

const TERM = /\s*([A-Za-z][A-Za-z0-9_/]*)\s+eq\s+(?:'((?:[^']|'')*)'|([A-Za-z0-9.:-]+))\s*/iy;
const AND = /and\s/iy;
const AZURE_DATE = /^(\d{4})-(\d\d?)-(\d\d?) (\d\d?):(\d\d):(\d\d) ([AP]M)$/i;
const ISO_DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,7})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * @param known the keys that this list understands: another one is refused, never left out.
 * @throws {Refusal} `InvalidFilter`
 */
export function parseFilter(text: string | undefined, known: readonly string[]): Filter {
  const values = new Map<string, string>();
  const names = new Set(known.map((name) => name.toLowerCase()));
  let at = 0;
  const source = (text ?? '').trim();
  while (at < source.length) {
    TERM.lastIndex = at;
    const term = TERM.exec(source);
    if (term === null) throw invalid(source, `it cannot be read at position ${at + 1}`);
    const [all, key = '', quoted, bare = ''] = term;
    const name = key.toLowerCase();
    if (!names.has(name)) throw invalid(source, `'${key}' is none of ${known.join(', ')}`);
    if (values.has(name)) throw invalid(source, `'${key}' is there twice`);
    values.set(name, quoted?.replaceAll("''", "'") ?? bare);
    at += all.length;
    if (at === source.length) break;
    AND.lastIndex = at;
    const and = AND.exec(source);
    if (and === null) throw invalid(source, `"and" is expected at position ${at + 1}`);
    at += and[0].length;
    if (at >= source.length) throw invalid(source, 'it ends after "and"');
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

function parseDate(value: string, source: string): number {
  const azure = AZURE_DATE.exec(value);
  if (azure !== null) {
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = azure
      .slice(1, 7)
      .map(Number);
    const isAfternoon = azure[7]!.toUpperCase() === 'PM';
    const isRight =
      month <= 12 && day <= 31 && hour >= 1 && hour <= 12 && minute < 60 && second < 60;
    const atMs = Date.UTC(
      year,
      month - 1,
      day,
      (hour % 12) + (isAfternoon ? 12 : 0),
      minute,
      second,
    );
    if (isRight && new Date(atMs).getUTCDate() === day) return atMs;
  }
  if (ISO_DATE.test(value)) {
    const hasZone = /Z$|[+-]\d\d:\d\d$/.test(value) || !value.includes('T');
    const atMs = Date.parse(hasZone ? value : `${value}Z`);
    if (Number.isFinite(atMs)) return atMs;
  }
  throw invalid(source, `'${value.slice(0, 40)}' is not a date such as 2026-01-31 08:30:00 PM`);
}

function invalid(source: string, why: string): Refusal {
  return new Refusal(
    'InvalidFilter',
    `The $filter "${source.slice(0, 200)}" is not valid: ${why}.`,
  );
}
