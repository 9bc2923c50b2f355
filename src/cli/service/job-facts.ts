/** A job as commands show it, and how it went as an exit code. */
import type {
  AzureIaaSVMErrorInfo,
  AzureIaaSVMJob,
  AzureIaaSVMJobTaskDetails,
  JobResource,
} from '@azure/arm-recoveryservicesbackup';
import { fullName, namedBy } from './names.ts';
import { durationSeconds, isoTime } from './time.ts';

export type JobFacts = ReturnType<typeof jobFacts>;

/** States that a job ends in. */
const ENDS: ReadonlySet<string> = new Set([
  'Completed',
  'CompletedWithWarnings',
  'Failed',
  'Cancelled',
]);

export function jobFacts({ id, name = '', properties }: JobResource) {
  const job = (properties ?? {}) as Partial<AzureIaaSVMJob>;
  const { operation = '', status = '', isUserTriggered = false, actionsInfo = [] } = job;
  const { entityFriendlyName: vm = '', containerName = '' } = job;
  const [, group] = containerName.split(';');
  return {
    id: name,
    resourceId: id,
    vault: fullName(namedBy(id)),
    operation,
    vm,
    group,
    status,
    startTime: isoTime(job.startTime),
    endTime: isoTime(job.endTime),
    durationSeconds: durationSeconds(job.duration),
    isUserTriggered,
    isCancellable: actionsInfo.includes('Cancellable'),
    ...wholeFacts(job),
    errors: job.errorDetails?.map(errorFacts),
  };
}

/** What the job is of: `lab/web`; a vault or a group of VMs by its name. */
export function entityOf({ vm, group }: Pick<JobFacts, 'vm' | 'group'>): string {
  return group === undefined ? vm : fullName({ group, name: vm });
}

/** What only a single job tells, not a list. */
function wholeFacts({ extendedInfo }: Partial<AzureIaaSVMJob>) {
  return {
    progressPercent: extendedInfo?.progressPercentage,
    tasks: extendedInfo?.tasksList?.map(taskFacts),
    properties: extendedInfo?.propertyBag,
    pointId: extendedInfo?.internalPropertyBag?.['RecoveryPointId'],
    warnings: extendedInfo?.dynamicErrorMessage?.split('\n'),
  };
}

function taskFacts(task: AzureIaaSVMJobTaskDetails) {
  const { taskId: name = '', status = '', duration, taskExecutionDetails: details } = task;
  return { name, status, durationSeconds: durationSeconds(duration), details };
}

function errorFacts(error: AzureIaaSVMErrorInfo) {
  const { errorTitle: code = '', errorString: message = '', recommendations = [] } = error;
  return { code, message, recommendations };
}

export function hasEnded({ status }: Pick<JobFacts, 'status'>): boolean {
  return ENDS.has(status);
}

/** 0 where it did what it should. */
export function exitCodeOf({ status }: Pick<JobFacts, 'status'>): number {
  return status === 'Completed' || status === 'CompletedWithWarnings' ? 0 : 1;
}
