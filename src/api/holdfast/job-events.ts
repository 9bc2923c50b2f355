/**
 * Holdfast.Backup/…/events: a job while it runs, as server-sent events (WHATWG HTML, 9.2).
 *
 * ```
 *   event: job ─ data: the job as GET shows it     whenever it has changed, and first as it is
 *   event: end ─ data: its status                  then the stream ends
 * ```
 */
import { getJob, getVault, type Job, type Vault } from '#service';
import { route, vaultOf, type Site } from '../frame/route.ts';
import { shownJob } from '../jobs/jobs.ts';
import { OWN_VAULT } from './own-vault.ts';

const LOOK_MS = 500;
/** Lines that only keep the connection open. */
const SILENCE_MS = 15_000;

export const jobEventRoutes = [
  route({
    method: 'GET',
    path: `${OWN_VAULT}/backupJobs/{job}/events`,
    summary: 'Follows a job, as server-sent events, until it has ended',
    handle: async (request) => {
      const { service, params } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const { id } = await getJob(service.catalogue.read, vault.id, params.job);
      const parts = eventsOf(request, vault, id);
      return { status: 200, stream: { contentType: 'text/event-stream; charset=utf-8', parts } };
    },
  }),
];

async function* eventsOf(site: Site, vault: Vault, id: string): AsyncGenerator<string> {
  const { catalogue, clock } = site.service;
  let last = '';
  let saidAt = clock.monotonicMs();
  for (;;) {
    const job = await getJob(catalogue.read, vault.id, id);
    const now = JSON.stringify(job satisfies Job);
    if (now !== last) {
      yield event('job', JSON.stringify(await shownJob(site, vault, id)));
      [last, saidAt] = [now, clock.monotonicMs()];
    }
    if (job.endedAt !== undefined) {
      yield event('end', JSON.stringify({ status: job.status }));
      return;
    }
    if (clock.monotonicMs() - saidAt >= SILENCE_MS) {
      yield ': still running\n\n';
      saidAt = clock.monotonicMs();
    }
    await clock.sleep(LOOK_MS);
  }
}

/** @param data one line. */
function event(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}
