/** Microsoft.RecoveryServices/vaults/backupJobs */
import {
  addOperation,
  getJob,
  getVault,
  JOB_STATUSES,
  listItems,
  listJobs,
  type Job,
  type JobOperation,
  type Vault,
  type VaultName,
} from '#service';
import { operationOf, resultAnswer } from '../frame/async-answer.ts';
import { parseFilter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { Refusal } from '../frame/refusal.ts';
import { ok, route, VAULT, vaultOf, type Site } from '../frame/route.ts';
import { vaultId } from '../ids.ts';
import { MANAGEMENT_TYPE } from '../items/item-names.ts';
import { jobToWire } from './job-wire.ts';

const JOBS = `${VAULT}/backupJobs` as const;
const FILTER_KEYS = [
  'status',
  'operation',
  'backupManagementType',
  'jobId',
  'startTime',
  'endTime',
  'entityFriendlyName',
];
const EXPORT = 'ExportJobs';
/** Where an export is read: with a token, as everything here. */
const EXPORTS =
  `${VAULT.replace('Microsoft.RecoveryServices', 'Holdfast.Backup')}/jobExports` as '/subscriptions/{subscription}/resourceGroups/{group}/providers/Holdfast.Backup/vaults/{vault}/jobExports';

export const jobRoutes = [
  route({
    method: 'GET',
    path: JOBS,
    summary: 'Lists the jobs of a vault, the newest first',
    handle: async (request) => {
      const jobs = await shownJobs(request, vaultOf(request.params), {
        filter: request.query.get('$filter'),
      });
      return listAnswer(request, jobs);
    },
  }),
  route({
    method: 'GET',
    path: `${JOBS}/{job}`,
    summary: 'Shows a job with its tasks',
    handle: async (request) => {
      const vault = await getVault(request.service.catalogue.read, vaultOf(request.params));
      return ok(await shownJob(request, vault, request.params.job));
    },
  }),
  route({
    method: 'POST',
    path: `${JOBS}/{job}/cancel`,
    summary: 'Cancels a job that has not ended',
    handle: async (request) => {
      const { service, params, baseUrl, apiVersion } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const { id: jobId } = await getJob(service.catalogue.read, vault.id, params.job);
      await service.jobs.cancel(vault.id, jobId, service.actor);
      const operation = { vaultId: vault.id, kind: 'CancelJob', target: jobId, jobId };
      const id = await service.catalogue.change(async (change) =>
        addOperation(service, change, operation),
      );
      const at = `${vaultId(request, vault)}/backupJobs/${jobId}/operationResults/${id}`;
      const Location = `${baseUrl}${at}?api-version=${apiVersion}`;
      return { status: 202, headers: { Location, 'Retry-After': '1' } };
    },
  }),
  route({
    method: 'GET',
    path: `${JOBS}/{job}/operationResults/{operation}`,
    summary: 'Tells whether the cancellation of a job was accepted',
    handle: async (request) => {
      const { service, params } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      await getJob(service.catalogue.read, vault.id, params.job);
      return await resultAnswer(request, await operationOf(request), async () => undefined);
    },
  }),
  route({
    method: 'POST',
    path: `${VAULT}/backupJobsExport`,
    summary: 'Prepares the jobs of a vault as one file',
    handle: async (request) => {
      const { service, params, query, baseUrl, apiVersion } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const filter = query.get('$filter') ?? '';
      parseFilter(filter, FILTER_KEYS);
      const operation = { vaultId: vault.id, kind: EXPORT, target: filter };
      const id = await service.catalogue.change(async (change) =>
        addOperation(service, change, operation),
      );
      const at = `${vaultId(request, vault)}/backupJobs/operationResults/${id}`;
      const Location = `${baseUrl}${at}?api-version=${apiVersion}`;
      return { status: 202, headers: { Location, 'Retry-After': '1' } };
    },
  }),
  route({
    method: 'GET',
    path: `${JOBS}/operationResults/{operation}`,
    summary: 'Tells where exported jobs are',
    handle: async (request) => {
      const operation = await operationOf(request);
      const { apiVersion, baseUrl } = request;
      const vault = await getVault(request.service.catalogue.read, vaultOf(request.params));
      return await resultAnswer(request, operation, async () => {
        if (operation.kind !== EXPORT) return undefined;
        const at = vaultId(request, vault).replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
        const blobUrl = `${baseUrl}${at}/jobExports/${operation.id}?api-version=${apiVersion}`;
        const objectType = 'ExportJobsOperationResultInfo';
        const result = { objectType, blobUrl, blobSasKey: '' };
        return { statusCode: 'OK', headers: {}, operation: result };
      });
    },
  }),
  route({
    method: 'GET',
    path: `${EXPORTS}/{operation}`,
    summary: 'Reads exported jobs',
    handle: async (request) => {
      const operation = await operationOf(request);
      if (operation.kind !== EXPORT)
        throw new Refusal('PathNotFound', 'That is no export of jobs.');
      const vault = vaultOf(request.params);
      const asked = { filter: operation.target, until: operation.createdAt };
      return ok({ value: await shownJobs(request, vault, asked) });
    },
  }),
];

/** @throws {HoldfastError} `BMSUserErrorJobNotFound`. */
export async function shownJob(site: Site, vault: Vault, id: string) {
  const job = await getJob(site.service.catalogue.read, vault.id, id);
  const items = await itemsOf(site, vault);
  return jobToWire({ site, vault, job, item: items.get(job.itemId ?? ''), isWhole: true });
}

type Asked = {
  readonly filter: string | undefined;
  /** Those begun later are left out. */
  readonly until?: number;
};

async function shownJobs(
  site: Site,
  vaultName: VaultName,
  { filter: filterText, until }: Asked,
): Promise<readonly ReturnType<typeof jobToWire>[]> {
  const filter = parseFilter(filterText, FILTER_KEYS);
  const vault = await getVault(site.service.catalogue.read, vaultName);
  const [from, to] = [filter.date('startTime'), filter.date('endTime') ?? until];
  const status = filter.get('status');
  const operation = filter.get('operation');
  const type = filter.get('backupManagementType') ?? MANAGEMENT_TYPE;
  if (type.toLowerCase() !== MANAGEMENT_TYPE.toLowerCase()) return [];
  const jobs = await listJobs(site.service.catalogue.read, vault.id, {
    ...(status === undefined ? {} : { statuses: statusesOf(status) }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  });
  const items = await itemsOf(site, vault);
  const is = (wanted: string | undefined, value: string): boolean =>
    wanted === undefined || wanted.toLowerCase() === value.toLowerCase();
  const isWanted = ({ id, operation: its, entity }: Job): boolean =>
    is(operation, its satisfies JobOperation) &&
    is(filter.get('jobId'), id) &&
    is(filter.get('entityFriendlyName'), entity);
  return jobs
    .filter(isWanted)
    .map((job) =>
      jobToWire({ site, vault, job, item: items.get(job.itemId ?? ''), isWhole: false }),
    );
}

function statusesOf(text: string) {
  const found = JOB_STATUSES.find((one) => one.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return [found];
  throw new Refusal(
    'InvalidFilter',
    `The $filter is not valid: '${text.slice(0, 40)}' is none of ${JOB_STATUSES.join(', ')}.`,
  );
}

async function itemsOf({ service }: Site, vault: VaultName) {
  const items = await listItems(service.catalogue.read, vault);
  return new Map(items.map((item) => [item.id, item]));
}
