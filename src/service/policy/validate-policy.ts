/**
 * Whether a policy may be: its shape, then R4, R8, R9, R13, R15, R16 and R33, all faults at once. Pure.
 *
 * A part of broken shape is not looked at by the rules, every other part is. The faults come in the order
 * change of kind, shapes, time zone, schedule, retention, snapshot days; the first gives the error its code.
 */
import {
  type BackupPolicy,
  type PolicyKind,
  type Retention,
  type Schedule,
} from './backup-policy.ts';
import { shown, throwFaults, type PolicyFault } from './faults.ts';
import {
  kindShape,
  policyShape,
  retentionShape,
  scheduleShape,
  shapeFaults,
} from './policy-shape.ts';
import { retentionFaults, retentionForScheduleFaults } from './retention-rules.ts';
import {
  defaultInstantRestoreDays,
  instantRestoreRange,
  rangeFault,
  scheduleFaults,
} from './schedule-rules.ts';
import { isTimeZone, windowsNameOf } from './time-zones.ts';

/** The parts of a draft whose shape is right. */
type Parts = {
  readonly kind: PolicyKind | undefined;
  readonly schedule: Schedule | undefined;
  readonly retention: Retention | undefined;
  readonly timeZone: unknown;
  readonly instantRestoreDays: unknown;
};

/**
 * @param draft whatever somebody asks for; without `instantRestoreDays` it gets Azure's default (R33).
 * @param current the policy that it replaces, if there is one.
 * @returns the policy, nothing changed but that default.
 * @throws {HoldfastError} naming every fault: `UserErrorPolicyTypeChangeNotAllowed` (R13),
 *   `UserErrorInvalidRetentionDuration` (R4), `UserErrorInvalidInstantRpRetention` (R33),
 *   `BMSUserErrorInvalidPolicyInput` (all else).
 */
export function validatePolicy(draft: unknown, current?: BackupPolicy): BackupPolicy {
  const complete = withDefaults(draft);
  const parts = partsOf(complete);
  const shape = policyShape.safeParse(complete);
  throwFaults([
    ...kindFaults(parts.kind, current),
    ...(shape.success ? [] : shapeFaults(shape.error, complete)),
    ...timeZoneFaults(parts.timeZone),
    ...(parts.schedule ? scheduleFaults(parts.schedule, parts.kind) : []),
    ...(parts.retention ? retentionFaults(parts.retention) : []),
    ...(parts.schedule && parts.retention
      ? retentionForScheduleFaults(parts.retention, parts.schedule)
      : []),
    ...instantFaults(parts),
    ...(shape.success ? tieringFaults(shape.data) : []),
  ]);
  return shape.data!;
}

function partsOf(draft: unknown): Parts {
  const { kind, schedule, retention, timeZone, instantRestoreDays } = fieldsOf(draft);
  return {
    kind: kindShape.safeParse(kind).data,
    schedule: scheduleShape.safeParse(schedule).data,
    retention: retentionShape.safeParse(retention).data,
    timeZone,
    instantRestoreDays,
  };
}

function withDefaults(draft: unknown): unknown {
  const fields = fieldsOf(draft);
  if (fields !== draft || fields['instantRestoreDays'] !== undefined) return draft;
  const { kind, schedule } = partsOf(draft);
  // Without them there is no default, and what is wrong is them.
  const days = kind && schedule ? defaultInstantRestoreDays(kind, schedule) : 1;
  return { ...fields, instantRestoreDays: days };
}

function fieldsOf(draft: unknown): Record<string, unknown> {
  return typeof draft === 'object' && draft !== null ? (draft as Record<string, unknown>) : {};
}

/** R13 */
function kindFaults(
  kind: PolicyKind | undefined,
  current: BackupPolicy | undefined,
): PolicyFault[] {
  if (kind !== 'standard' || current?.kind !== 'enhanced') return [];
  return [
    {
      code: 'UserErrorPolicyTypeChangeNotAllowed',
      field: 'kind',
      found: shown(kind),
      allowed: 'enhanced, as it was: that never becomes standard again',
    },
  ];
}

function timeZoneFaults(timeZone: unknown): PolicyFault[] {
  if (typeof timeZone !== 'string' || isTimeZone(timeZone)) return [];
  const example = windowsNameOf(timeZone) ?? 'W. Europe Standard Time';
  const allowed = `UTC or another Windows name, as "${example}"`;
  const found = shown(timeZone);
  return [{ code: 'BMSUserErrorInvalidPolicyInput', field: 'timeZone', found, allowed }];
}

/** R33 */
function instantFaults({ kind, schedule, instantRestoreDays: days }: Parts): PolicyFault[] {
  if (!kind || !schedule || !Number.isSafeInteger(days)) return [];
  const [min, max] = instantRestoreRange(kind, schedule);
  return rangeFault('instantRestoreDays', days as number, {
    min,
    max,
    noun: 'days',
    code: 'UserErrorInvalidInstantRpRetention',
  });
}

function tieringFaults({ tiering }: BackupPolicy): PolicyFault[] {
  if (tiering?.mode !== 'after' || (tiering.duration?.count ?? 0) >= 1) return [];
  const code = 'BMSUserErrorInvalidPolicyInput';
  const found = shown(tiering.duration);
  return [{ code, field: 'tiering.duration', found, allowed: 'at least 1 day, with mode after' }];
}
