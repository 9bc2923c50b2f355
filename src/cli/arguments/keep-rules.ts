/** The options `--keep-last N` … `--keep-yearly N` as the rules of the room `backup`. */
import type { KeepRules } from '#backup';
import { UsageError } from '../usage-error.ts';
import { parseCount } from './size.ts';

/** As commander gives them. */
export type KeepOptions = {
  readonly keepLast?: string;
  readonly keepHourly?: string;
  readonly keepDaily?: string;
  readonly keepWeekly?: string;
  readonly keepMonthly?: string;
  readonly keepYearly?: string;
};

/** Undefined: no such option was given. */
export function parseKeepRules(options: KeepOptions): KeepRules | undefined {
  const given = [
    ['last', options.keepLast],
    ['hourly', options.keepHourly],
    ['daily', options.keepDaily],
    ['weekly', options.keepWeekly],
    ['monthly', options.keepMonthly],
    ['yearly', options.keepYearly],
  ] as const;
  const rules = given.flatMap(([rule, text]) =>
    text === undefined ? [] : [[rule, parseCount(`--keep-${rule}`, text)] as const],
  );
  if (rules.length === 0) return undefined;
  if (rules.every(([, count]) => count === 0)) {
    throw new UsageError(
      'these rules keep nothing, and would expire every point: keep at least one',
    );
  }
  return Object.fromEntries(rules);
}
