/** A job on the wire (`AzureIaaSVMJob`). */
import { isPastCancelling, type Item, type Job, type JobTask, type VaultName } from '#service';
import { isoDuration } from '../frame/durations.ts';
import type { Site } from '../frame/route.ts';
import { vaultId } from '../ids.ts';
import { MANAGEMENT_TYPE, plainName } from '../items/item-names.ts';
import { errorNumber, recommendationsFor } from './error-numbers.ts';

const CANCELLABLE: ReadonlySet<string> = new Set([
  'Backup',
  'Expire',
  'ExportDisks',
  'GroupBackup',
  'InstantBoot',
  'Restore',
  'Verify',
]);

export type JobToShow = {
  readonly site: Site;
  readonly vault: VaultName;
  readonly job: Job;
  /** The one that the job is of; undefined: it is gone. */
  readonly item: Item | undefined;
  /** Whether with its tasks and properties; lists are without. */
  readonly isWhole: boolean;
};

export function jobToWire({ site, vault, job, item, isWhole }: JobToShow) {
  const now = site.service.clock.nowMs();
  const { id, entity, operation, status, createdAt, endedAt } = job;
  const { settings } = site.service;
  const isOpen = status === 'InProgress' && CANCELLABLE.has(operation);
  const canCancel = isOpen && !isPastCancelling(settings, job);
  const errors = errorDetails(job);
  return {
    id: `${vaultId(site, vault)}/backupJobs/${id}`,
    name: id,
    type: 'Microsoft.RecoveryServices/vaults/backupJobs',
    properties: {
      jobType: 'AzureIaaSVMJob',
      backupManagementType: MANAGEMENT_TYPE,
      entityFriendlyName: entity,
      operation,
      status,
      startTime: iso(createdAt),
      ...(endedAt === undefined ? {} : { endTime: iso(endedAt) }),
      duration: isoDuration(Math.max(0, (endedAt ?? now) - createdAt)),
      activityId: id,
      actionsInfo: canCancel ? ['Cancellable'] : [],
      virtualMachineVersion: 'Compute',
      ...(item === undefined
        ? {}
        : { containerName: plainName({ group: item.vmGroup, name: item.vmName }) }),
      isUserTriggered: job.isUserTriggered,
      ...(errors.length === 0 ? {} : { errorDetails: errors }),
      ...(isWhole ? { extendedInfo: extendedInfo(job, now) } : {}),
    },
  };
}

/** The failure first, of the last try while it waits for the next; then what it warned of by code. */
function errorDetails({ failure, warnings, nextTryAt }: Job) {
  const again = (text: string): string =>
    nextTryAt === undefined ? text : `${stopped(text)} It is tried again at ${iso(nextTryAt)}.`;
  const told = [
    ...(failure === undefined ? [] : [{ code: failure.code, message: again(failure.message) }]),
    ...warnings.flatMap(({ code, message }) => (code === undefined ? [] : [{ code, message }])),
  ];
  return told.map(({ code, message }) => ({
    errorCode: errorNumber(code),
    errorTitle: code,
    errorString: message,
    recommendations: recommendationsFor(code),
  }));
}

function stopped(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function extendedInfo(job: Job, now: number) {
  const { tasks, progress, properties, warnings, endedAt, pointId } = job;
  const percent = endedAt === undefined ? percentOf(progress) : undefined;
  const remainingMs = endedAt === undefined ? remainingOf(progress) : undefined;
  const warned = warnings.map(({ message }) => message);
  return {
    tasksList: tasks.map((task) => taskToWire(task, now, percent)),
    propertyBag: { ...named(job), ...properties, ...speedOf(job), ...nextTryOf(job) },
    internalPropertyBag: pointId === undefined ? {} : { RecoveryPointId: pointId },
    ...(percent === undefined ? {} : { progressPercentage: percent }),
    ...(remainingMs === undefined ? {} : { estimatedRemainingDuration: isoDuration(remainingMs) }),
    ...(warned.length === 0 ? {} : { dynamicErrorMessage: warned.join('\n') }),
  };
}

/** Most jobs are of a VM. */
function named({ itemId, entity, operation }: Job): Readonly<Record<string, string>> {
  if (operation === 'GroupBackup') return { 'Consistency Group': entity };
  return itemId === undefined ? { 'Vault Name': entity } : { 'VM Name': entity };
}

function taskToWire(task: JobTask, now: number, percent: number | undefined) {
  const { name, status, startedAt, endedAt, details } = task;
  const durationMs = startedAt === undefined ? 0 : Math.max(0, (endedAt ?? now) - startedAt);
  const lines = (details ?? []).map(({ message }) => message);
  const isMoving = status === 'InProgress' && percent !== undefined;
  return {
    taskId: name,
    ...(startedAt === undefined ? {} : { startTime: iso(startedAt) }),
    ...(endedAt === undefined ? {} : { endTime: iso(endedAt) }),
    duration: isoDuration(durationMs),
    status,
    ...(isMoving ? { progressPercentage: percent } : {}),
    ...(lines.length === 0 ? {} : { taskExecutionDetails: lines.join('\n') }),
  };
}

/** M24: how far it is and how fast; of one that has ended, how fast it was in all. */
function speedOf({ progress, startedAt, endedAt }: Job): Readonly<Record<string, string>> {
  if (progress === undefined) return {};
  const { phase, doneBytes, totalBytes, bytesPerSecond } = progress;
  const seconds = ((endedAt ?? 0) - (startedAt ?? 0)) / 1000;
  const speed = endedAt === undefined || seconds <= 0 ? bytesPerSecond : doneBytes / seconds;
  return {
    ...(endedAt === undefined ? { Phase: phase } : {}),
    'Bytes done': String(doneBytes),
    ...(totalBytes === undefined ? {} : { 'Bytes in all': String(totalBytes) }),
    ...(speed === undefined ? {} : { 'Bytes per second': String(Math.round(speed)) }),
  };
}

function nextTryOf({ nextTryAt }: Job): Readonly<Record<string, string>> {
  return nextTryAt === undefined ? {} : { 'Next try': iso(nextTryAt) };
}

function percentOf(progress: Job['progress']): number | undefined {
  if (progress?.totalBytes === undefined) return undefined;
  const { doneBytes, totalBytes } = progress;
  if (totalBytes === 0) return 100;
  return Math.min(100, Math.floor((doneBytes * 1000) / totalBytes) / 10);
}

function remainingOf(progress: Job['progress']): number | undefined {
  const { totalBytes, doneBytes = 0, bytesPerSecond = 0 } = progress ?? {};
  if (totalBytes === undefined || bytesPerSecond <= 0) return undefined;
  return Math.round((Math.max(0, totalBytes - doneBytes) / bytesPerSecond) * 1000);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
