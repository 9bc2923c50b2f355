/**
 * The shape of a policy: which fields there are and which words they take; the rules about their values
 * are in schedule-rules.ts and retention-rules.ts. Fields that nobody knows are refused, not dropped.
 */
import { z } from 'zod';
import {
  DURATION_UNITS,
  MONTHS,
  POLICY_KINDS,
  TIERING_MODES,
  WEEKDAYS,
  WEEKS_OF_MONTH,
  type BackupPolicy,
} from './backup-policy.ts';
import { shown, words, type PolicyFault } from './faults.ts';

const LIST_LENGTH = 64;
/** What a resource group may be called in Azure. */
const GROUP_NAME = /^[\p{L}\p{N}().\-_]{0,80}$/u;
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?$/;

const listOf = <T extends z.ZodType>(item: T) => z.array(item).max(LIST_LENGTH);

const time = z.string().regex(TIME, 'a time of day, HH:MM');
const times = listOf(time);
const weekdays = listOf(z.enum(WEEKDAYS));
const duration = z.strictObject({ count: z.int(), unit: z.enum(DURATION_UNITS) });
const rule = { times, duration };
const retentionDays = z.discriminatedUnion('format', [
  z.strictObject({
    format: z.literal('daily'),
    dates: listOf(z.union([z.int(), z.literal('last')])),
  }),
  z.strictObject({
    format: z.literal('weekly'),
    weeks: listOf(z.enum(WEEKS_OF_MONTH)),
    weekdays,
  }),
]);
const groupName = z.string().regex(GROUP_NAME, 'letters, digits, ( ) . - _, at most 80');

export const scheduleShape = z.discriminatedUnion('frequency', [
  z.strictObject({
    frequency: z.literal('daily'),
    runTimes: times,
    weeklyFrequency: z.exactOptional(z.int()),
  }),
  z.strictObject({
    frequency: z.literal('weekly'),
    weekdays,
    runTimes: times,
    weeklyFrequency: z.exactOptional(z.int()),
  }),
  z.strictObject({
    frequency: z.literal('hourly'),
    intervalHours: z.int(),
    windowStart: time,
    windowHours: z.int(),
  }),
]) satisfies z.ZodType<BackupPolicy['schedule']>;

export const retentionShape = z.strictObject({
  daily: z.exactOptional(z.strictObject(rule)),
  weekly: z.exactOptional(z.strictObject({ ...rule, weekdays })),
  monthly: z.exactOptional(z.strictObject({ ...rule, days: retentionDays })),
  yearly: z.exactOptional(
    z.strictObject({ ...rule, days: retentionDays, months: listOf(z.enum(MONTHS)) }),
  ),
}) satisfies z.ZodType<BackupPolicy['retention']>;

export const kindShape = z.enum(POLICY_KINDS);

export const policyShape = z.strictObject({
  kind: kindShape,
  timeZone: z.string(),
  schedule: scheduleShape,
  retention: retentionShape,
  instantRestoreDays: z.int(),
  snapshotGroup: z.exactOptional(
    z.strictObject({
      namePrefix: z.exactOptional(groupName),
      nameSuffix: z.exactOptional(groupName),
    }),
  ),
  tiering: z.exactOptional(
    z.strictObject({ mode: z.enum(TIERING_MODES), duration: z.exactOptional(duration) }),
  ),
}) satisfies z.ZodType<BackupPolicy>;

/** What zod found, as faults: where, what was there, what may be. */
export function shapeFaults(error: z.ZodError, draft: unknown): PolicyFault[] {
  return error.issues.flatMap((issue) => {
    const at = (path: readonly PropertyKey[], allowed: string): PolicyFault => ({
      code: 'BMSUserErrorInvalidPolicyInput',
      field: fieldName(path),
      found: shown(valueAt(draft, path)),
      allowed,
    });
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => at([...issue.path, key], 'no such field here'));
    }
    return [at(issue.path, allowedBy(issue))];
  });
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  array: 'a list',
  int: 'a whole number',
  number: 'a whole number',
  object: 'an object',
  string: 'a text',
};

function allowedBy(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return words(issue.values.map(String));
  if (issue.code === 'invalid_union') return unionWords(issue.path.at(-1));
  if (issue.code === 'invalid_type') return TYPE_WORDS[issue.expected] ?? issue.expected;
  if (issue.code === 'too_big') return `at most ${issue.maximum}`;
  return issue.message;
}

/** Of the unions above, by the field that tells their forms apart. */
function unionWords(field: PropertyKey | undefined): string {
  if (field === 'frequency') return 'daily, weekly, hourly';
  return field === 'format' ? 'daily, weekly' : 'a whole number, last';
}

function fieldName(path: readonly PropertyKey[]): string {
  const text = path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('');
  return text.replace(/^\./, '').slice(0, 120) || 'the policy';
}

function valueAt(draft: unknown, path: readonly PropertyKey[]): unknown {
  let value = draft;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
