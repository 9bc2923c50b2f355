/**
 * `holdfast export`: the disks of a recovery point over NBD on this machine, read-only, until Ctrl-C, which is its
 * normal end, or until its time is over.
 */
import { formatTable, left } from '../output/table.ts';
import { jobOf } from './accepted.ts';
import { ownPath } from './names.ts';
import { cancelJob, failureOfJob, followJob } from './follow-job.ts';
import { exitCodeOf, type JobFacts } from './job-facts.ts';
import { findPoint } from './points.ts';
import { findItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

export type ExportOptions = {
  readonly vault?: string;
  /** LUNs; the system disk is always with them. */
  readonly disks?: readonly number[];
  readonly onlyOsDisk?: boolean;
  /** Minutes. */
  readonly for?: number;
  readonly wait: boolean;
};

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function exportPoint(
  context: ServiceContext,
  names: { readonly vm: string; readonly point: string },
  options: ExportOptions,
): Promise<void> {
  const { service, terminal, signal } = context;
  const item = await findItem(service, names.vm, options.vault);
  const point = await findPoint(service, item, names.point);
  const { disks, onlyOsDisk, for: minutes, wait } = options;
  const luns = onlyOsDisk === true ? [] : disks;
  const properties = {
    ...(luns === undefined ? {} : { restoreDiskLunList: luns }),
    ...(minutes === undefined ? {} : { expiresAfterMinutes: minutes }),
  };
  const at = ownPath(`${item.id}/recoveryPoints/${point.id}/export`);
  const accepted = await service.http.accepted('POST', at, { body: { properties } });
  const id = await jobOf(service, item.vault, accepted);
  if (id === undefined) throw new TypeError('an export was accepted without a job');
  const name = { vault: item.vault, id };
  const leaving = new AbortController();
  const following = { ...context, signal: AbortSignal.any([signal, leaving.signal]) };
  let isTold = false;
  try {
    const job = await followJob(following, name, (now) => {
      if (isTold || disksOf(now).length === 0) return;
      isTold = true;
      terminal.result({ ...now, disks: disksOf(now) }, () => describe(now));
      if (wait) terminal.note('Ctrl-C ends the export.');
      else leaving.abort();
    });
    if (exitCodeOf(job) !== 0) throw failureOfJob(job);
    terminal.note('The time of the export is over.');
  } catch (error) {
    if (!following.signal.aborted) throw error;
    if (!signal.aborted) return; // It is served, and goes on.
    await cancelJob(context, name);
    terminal.note('The export has ended.');
  }
}

/** Those that are served, the system disk first. */
function disksOf({ properties = {} }: JobFacts) {
  return Object.entries(properties).flatMap(([property, uri]) => {
    const [, lun] = /^NBD URI of (?:the system disk|LUN (\d+))$/.exec(property) ?? [
      undefined,
      null,
    ];
    if (lun === null) return [];
    return [lun === undefined ? { uri } : { lun: Number(lun), uri }];
  });
}

function describe(job: JobFacts): string {
  const table = formatTable(
    [left('DISK'), left('NBD URI')],
    disksOf(job).map(({ lun, uri }) => [lun === undefined ? 'system' : `LUN ${lun}`, uri]),
  );
  const { Expires: expires } = job.properties ?? {};
  return `${table}\n\nRead-only, until ${shortTime(expires)}: job ${job.id}`;
}
