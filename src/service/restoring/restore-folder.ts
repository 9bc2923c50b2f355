/** Where a Restore job writes: a folder of its own in its storage account. */
import { join } from 'node:path';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { getStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { restoreRequestFromJson } from './restore-request.ts';

/** The same for every try of the job: `web-20261122-101500-1f0c`. */
export async function restoreFolder(
  reader: CatalogueReader,
  job: Pick<Row<'jobs'>, 'id' | 'request' | 'createdAt' | 'entity'>,
): Promise<string> {
  const { account } = restoreRequestFromJson(job.request);
  const { path } = await getStorageAccount(reader, account);
  const time = new Date(job.createdAt).toISOString().replaceAll(/[-:]|\.\d+Z/g, '');
  const vm = job.entity.toLowerCase().replaceAll(/[^\p{L}\p{N}_.-]/gu, '_');
  return join(path, `${vm}-${time.replace('T', '-')}-${job.id.slice(0, 4)}`);
}
