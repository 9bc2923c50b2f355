/**
 * The work of an ExportDisks job: waits for its turn, then shows disks of a point over NBD until its time is over or
 * it is cancelled (decision 0010). The reader's pin keeps what it shows, whatever expires meanwhile; after a restart
 * the point must still be there.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { pause, throwIfCancelled } from '#base';
import { servePoint, type PointServer } from '#backup';
import { propertiesFromJson } from '../jobs/job-records.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { exportRequestFromJson } from './export-request.ts';
import { exportFolder, socketPath, uriProperty } from './export-sockets.ts';

const TASK = 'Export disks';
const EXPIRES = 'Expires';
const MINUTE_MS = 60_000;

export function exportWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: true,
    run: async (run) => {
      const slot = { name: 'exports', limit: parts.settings.exportsAtOnce };
      await run.holding([slot], async () => await inFolder(parts, run));
    },
    failed: async (job, _, run) => {
      forgetUris(run);
      await rm(exportFolder(parts.dataFolder, job.id), { recursive: true, force: true });
    },
  };
}

async function inFolder(parts: ServiceParts, run: JobRun): Promise<void> {
  const { clock, dataFolder } = parts;
  const endsAt = endOf(parts, run);
  run.property(EXPIRES, new Date(endsAt).toISOString());
  await run.task({ name: TASK, status: 'InProgress', startedAt: clock.nowMs() });
  const folder = exportFolder(dataFolder, run.job.id);
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
  try {
    await parts.repositories.read(run.job.vaultId, async (repository) => {
      const servers = await serve(run, repository, folder);
      try {
        await run.settled();
        await untilEnd(parts, run, endsAt);
      } finally {
        for (const server of servers) await server.close();
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  forgetUris(run);
  await run.task({ name: TASK, status: 'Completed', endedAt: clock.nowMs() });
}

/** Nobody answers there any more. */
function forgetUris(run: JobRun): void {
  const { disks } = exportRequestFromJson(run.job.request);
  for (const disk of disks) run.property(uriProperty(disk), '');
}

/** When it was served first decides. */
function endOf({ clock }: ServiceParts, { job }: JobRun): number {
  const known = propertiesFromJson(job.properties)[EXPIRES];
  if (known !== undefined) return Date.parse(known);
  return clock.nowMs() + exportRequestFromJson(job.request).minutes * MINUTE_MS;
}

async function serve(
  run: JobRun,
  repository: OpenRepository,
  folder: string,
): Promise<readonly PointServer[]> {
  const { point, disks } = exportRequestFromJson(run.job.request);
  const warn = (message: string): void => run.warn(message);
  const servers: PointServer[] = [];
  try {
    for (const disk of disks) {
      const at = { point, disk: disk.name, socketPath: socketPath(folder, disk) };
      servers.push(await servePoint({ repository, ...at, warn, threads: 1 }));
    }
    // Whoever sees one of them sees all.
    for (const [at, disk] of disks.entries()) run.property(uriProperty(disk), servers[at]!.uri);
    return servers;
  } catch (error) {
    for (const server of servers) await server.close();
    throw error;
  }
}

/** By the clock on the wall, which may be set. @throws {HoldfastError} `Cancelled` if it ended before. */
async function untilEnd(
  { clock }: ServiceParts,
  { signal }: JobRun,
  endsAt: number,
): Promise<void> {
  for (;;) {
    throwIfCancelled(signal);
    const leftMs = endsAt - clock.nowMs();
    if (leftMs <= 0) return;
    await pause(clock, Math.min(leftMs, MINUTE_MS), signal);
  }
}
