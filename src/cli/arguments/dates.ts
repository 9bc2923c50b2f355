/** Times as people give them: `2026-12-31`, `2026-12-31T20:00:00Z`; for dates to come also `30d`. */
import type { Clock } from '#base';
import { UsageError } from '../usage-error.ts';

const DAY_MS = 86_400_000;

/** A date or an instant. @returns it as ISO 8601. @throws {UsageError} */
export function instant(option: string, text: string): string {
  const found = instantOf(text);
  if (found !== undefined) return found;
  throw new UsageError(
    `${option} "${text}" is no date such as 2026-12-31 or 2026-12-31T20:00:00Z, and no number of days such as 30d`,
  );
}

/** A date, an instant, or a number of days ago. @returns as ISO 8601. @throws {UsageError} */
export function datePast(option: string, text: string, clock: Clock): string {
  const [, days] = /^(\d{1,6})d(?:ays)?$/i.exec(text) ?? [];
  if (days === undefined) return instant(option, text);
  const time = new Date(clock.nowMs() - Number(days) * DAY_MS);
  if (!Number.isNaN(time.getTime())) return time.toISOString();
  throw new UsageError(`${option} "${text}" is too far away`);
}

/** A date, an instant, or a number of days from now. @returns as ISO 8601. @throws {UsageError} */
export function dateToCome(option: string, text: string, clock: Clock): string {
  const [, days] = /^(\d{1,6})d(?:ays)?$/i.exec(text) ?? [];
  if (days === undefined) {
    const found = instantOf(text);
    if (found !== undefined) return found;
    throw new UsageError(
      `${option} "${text}" is no date such as 2026-12-31, and no number of days such as 30d`,
    );
  }
  const time = new Date(clock.nowMs() + Number(days) * DAY_MS);
  if (!Number.isNaN(time.getTime())) return time.toISOString();
  throw new UsageError(`${option} "${text}" is too far away`);
}

function instantOf(text: string): string | undefined {
  const isDate = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/i.test(text);
  const ms = isDate ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}
