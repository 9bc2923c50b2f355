/** A VM `web` of one small disk, protected by DefaultPolicy in the vault `v1`, with recovery points. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { backUpNow } from '../backing-up/start-backup.ts';
import { getItem, type Item } from '../items/items.ts';
import { protect } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import type { Service } from '../service.ts';
import { putStorageAccount } from '../storage-accounts/storage-accounts.ts';
import { WEB } from './aged-vm.ts';
import {
  addImages,
  endOf,
  GROUP,
  testService,
  withVault,
  type TestService,
} from './test-service.ts';

export const STORE = { group: GROUP, name: 'store' };

export type BackedUpVm = {
  readonly made: TestService;
  readonly item: Item;
  /** Newest first. */
  readonly points: readonly string[];
  /** Its image, `a.raw`, is in here. */
  readonly folder: string;
};

export async function backedUpVm(
  t: TestContext,
  { backups = 1, sizeBytes = 1 << 20 } = {},
): Promise<BackedUpVm> {
  const made = await testService(t);
  const folder = addImages(made, 'web', [{ name: 'a', sizeBytes }]);
  await withVault(made);
  const service = made.service();
  const { read } = service.catalogue;
  await protect(service, WEB, { policy: 'DefaultPolicy' });
  const { vaultId } = await getItem(read, WEB);
  for (let backup = 0; backup < backups; backup += 1) {
    const { jobId } = await backUpNow(service, WEB, undefined);
    const job = await endOf(service, vaultId, jobId);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
  }
  const item = await getItem(read, WEB);
  const points = (await listPoints(read, item.id)).map(({ id }) => id);
  return { made, item, points, folder };
}

/** The storage account `store`, as the open service has it. @returns its folder. */
export async function addStore({ service, data }: TestService): Promise<string> {
  const path = join(data, '..', 'store');
  mkdirSync(path, { recursive: true });
  await putStorageAccount(service(), { ...STORE, path });
  return path;
}

/** The service as one that is killed before its next change of the catalogue: documents are written, rows are not. */
export function killedBefore<Parts extends Pick<Service, 'catalogue'>>(service: Parts): Parts {
  const change: Service['catalogue']['change'] = async () => {
    throw new Error('killed');
  };
  return { ...service, catalogue: { ...service.catalogue, change } };
}
