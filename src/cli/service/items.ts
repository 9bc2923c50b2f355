/** A protected item as commands show it. */
import { fullName } from './names.ts';
import type { ServiceItem } from './resources.ts';
import { isoTime, timeMs } from './time.ts';

export type ItemFacts = ReturnType<typeof itemFacts>;

export function itemFacts({ id, vault, vm, properties }: ServiceItem) {
  const { policyName, protectionState, lastBackupStatus, lastBackupTime, lastRecoveryPoint } =
    properties;
  const isDeleted = properties.isScheduledForDeferredDelete === true;
  return {
    id,
    vm: fullName(vm),
    vault: fullName(vault),
    policy: policyName === '' ? undefined : policyName,
    state: protectionState ?? 'Invalid',
    lastBackupStatus: lastBackupStatus === '' ? undefined : lastBackupStatus,
    lastBackupTime: isoTime(lastBackupTime),
    lastRecoveryPoint: isoTime(lastRecoveryPoint),
    isSoftDeleted: isDeleted,
    deletedForGoodTime: isDeleted ? endOfSoftDelete(properties) : undefined,
  };
}

const DAY_MS = 86_400_000;

function endOfSoftDelete(properties: ServiceItem['properties']): string | undefined {
  const { deferredDeleteTimeInUTC, softDeleteRetentionPeriodInDays: days } = properties;
  const from = timeMs(deferredDeleteTimeInUTC);
  if (from === undefined || days === undefined) return undefined;
  return new Date(from + days * DAY_MS).toISOString();
}

const WORDS: Readonly<Record<string, string>> = {
  IRPending: 'first backup pending',
  Protected: 'protected',
  ProtectionError: 'error',
  ProtectionStopped: 'stopped, points kept',
  BackupsSuspended: 'stopped, points by policy',
  ProtectionPaused: 'paused',
};

export function stateWords({ state, isSoftDeleted }: Pick<ItemFacts, 'state' | 'isSoftDeleted'>) {
  return isSoftDeleted ? 'soft-deleted' : (WORDS[state] ?? state);
}
