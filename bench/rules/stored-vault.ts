/** A service with one vault at its limits: every point is in the repository, in its item's document and in the catalogue. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock } from '#base';
import { readManifest } from '#repository';
import { backUpNow } from '../../src/service/backing-up/start-backup.ts';
import { discoverHost } from '../../src/service/hosts/discovery.ts';
import { putHost } from '../../src/service/hosts/hosts.ts';
import { itemDocument } from '../../src/service/items/item-documents.ts';
import { protect } from '../../src/service/items/protect.ts';
import { getItem } from '../../src/service/items/items.ts';
import { getJob, type Job } from '../../src/service/jobs/jobs.ts';
import { getPolicy, putPolicy } from '../../src/service/policies/policies.ts';
import { defaultPolicy } from '../../src/service/policy/default-policy.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { changeVault } from '../../src/service/repositories/change-vault.ts';
import { retentionToJson } from '../../src/service/retention/point-retention.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { createVault } from '../../src/service/vaults/create-vault.ts';
import type { Row } from '../../src/service/catalogue/schema.ts';
import { tell } from '../measuring/tables.ts';
import { DAY_MS, pointOf, vmNameOf, type RulesScale } from './scale.ts';
import { storePoints, type StoredPoint } from './stored-points.ts';

const GROUP = 'lab';
const TEMPLATE = 'template';
export const STORED_VAULT = { group: GROUP, name: 'stored' };
const BLOCK = 16 * 1024;
/** Of each VM's first backup, and of each later one. */
const FIRST_BLOCKS = 16;
const CHANGED_BLOCKS = 2;
/** Items of this policy are a tenth of all. */
export const FEW = 'few';
export const MANY = 'many';

export type StoredVault = {
  readonly service: Service;
  readonly clock: FakeClock;
  readonly vaultId: string;
  readonly scale: RulesScale;
  /** When the oldest points were taken. */
  readonly firstAt: number;
  /** Adds a point to each VM, a day later. */
  readonly backUpAll: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Daily points are kept for so many days. */
export function keptFor(days: number): BackupPolicy {
  const policy = defaultPolicy('02:00');
  const times = policy.retention.daily!.times;
  return { ...policy, retention: { daily: { times, duration: { count: days, unit: 'days' } } } };
}

export async function makeStoredVault(folder: string, scale: RulesScale): Promise<StoredVault> {
  const images = join(folder, 'images');
  mkdirSync(join(images, TEMPLATE), { recursive: true });
  writeFileSync(join(images, TEMPLATE, 'a.raw'), randomBytes(64 * BLOCK));
  const clock = new FakeClock(Date.UTC(2026, 5, 1, 2));
  const complain = (facts: object, message: string): void =>
    tell(`${message} ${JSON.stringify(facts)}`);
  const service = await openService({
    data: join(folder, 'data'),
    clock,
    machine: { bootId: 'bench', upMs: clock.nowMs },
    random: (sizeBytes) => randomBytes(sizeBytes),
    version: 'bench',
    process: { host: 'bench', pid: process.pid, command: 'bench' },
    log: { info: () => undefined, warn: complain, error: complain },
  });
  await putHost(service, { name: GROUP, uri: `images:${images}` });
  await discoverHost(service, GROUP);
  const settings = { softDelete: 'Disabled' } as const;
  const { id: vaultId } = await createVault(service, { ...STORED_VAULT, tags: {}, settings });
  for (const name of [MANY, FEW]) {
    await putPolicy(service, { vault: STORED_VAULT, name }, { draft: keptFor(2 * scale.points) });
  }
  const note = await noteOfVm(service, vaultId);
  const vms = await makeItems(service, { vaultId, count: scale.vms });
  const firstAt = clock.nowMs();
  let day = 0;
  const backUpAll = async (): Promise<void> => {
    if (day > 0) clock.jump(DAY_MS);
    await backUpDay(service, { vms, note, day });
    day += 1;
  };
  while (day < scale.points) {
    await backUpAll();
    if (day % 10 === 0) tell(`${day} points of ${vms.length} VMs`);
  }
  const close = async (): Promise<void> => await service.close();
  return { service, clock, vaultId, scale, firstAt, backUpAll, close };
}

/** What a backup keeps of a VM, by one that is backed up. */
async function noteOfVm(service: Service, vaultId: string): Promise<object> {
  const name = { vault: STORED_VAULT, vm: { group: GROUP, name: TEMPLATE } };
  await protect(service, name, { policy: MANY });
  const { jobId } = await backUpNow(service, name, undefined);
  const { pointId } = await endOfJob(service, { vaultId, jobId });
  return await service.repositories.use(
    vaultId,
    async ({ parts, state }) =>
      (await readManifest(parts, state.points.get(pointId!)!)).vm as object,
  );
}

export async function endOfJob(
  { catalogue }: Service,
  of: { readonly vaultId: string; readonly jobId: string },
): Promise<Job> {
  for (;;) {
    const job = await getJob(catalogue.read, of.vaultId, of.jobId);
    if (job.status === 'Completed') return job;
    if (job.endedAt !== undefined) throw new Error(JSON.stringify(job));
    await sleep(5);
  }
}

async function makeItems(
  { catalogue, clock }: Service,
  { vaultId, count }: { readonly vaultId: string; readonly count: number },
): Promise<readonly Row<'items'>[]> {
  const { read } = catalogue;
  const name = { vault: STORED_VAULT, vm: { group: GROUP, name: TEMPLATE } };
  const [many, few] = await Promise.all(
    [MANY, FEW].map(async (policy) => await getPolicy(read, { vault: STORED_VAULT, name: policy })),
  );
  const { id } = await getItem(read, name);
  const query = read.selectFrom('items').selectAll().where('id', '=', id);
  const template = await query.executeTakeFirstOrThrow();
  const now = clock.nowMs();
  const rows = Array.from({ length: count }, (_, vm): Row<'items'> => {
    const vmName = vmNameOf(vm);
    const ids = { id: `item-${vm}`, vmKey: vmName, vmName, repositoryItem: `${GROUP}/${vmName}` };
    const policyId = vm % 10 === 0 ? few!.id : many!.id;
    return { ...template, ...ids, vaultId, policyId, createdAt: now, stateSince: now };
  });
  await catalogue.change(async (change) => {
    for (const row of rows) await change.insertInto('items').values(row).execute();
  });
  return rows;
}

type Day = {
  readonly vms: readonly Row<'items'>[];
  readonly note: object;
  readonly day: number;
};

/** As the jobs of that day would leave it. */
async function backUpDay(service: Service, { vms, note, day }: Day): Promise<void> {
  const { catalogue, repositories, clock } = service;
  const stored = vms.map(({ repositoryItem }, vm): StoredPoint => {
    const point = pointOf(vm, day);
    return { item: repositoryItem, point, vm: note, blocks: blocksOf(vm, day) };
  });
  const { vaultId } = vms[0]!;
  await repositories.use(vaultId, async (repository) => await storePoints(repository, stored));
  const takenAt = clock.nowMs();
  const disk = { name: 'a', sizeBytes: 64 * BLOCK, changedBytes: 0, storedBytes: 0 };
  const always = {
    takenAt,
    consistency: 'CrashConsistent',
    origin: 'scheduled',
    jobId: null,
    expiresAt: null,
    retention: retentionToJson({ runAt: takenAt, tags: [{ class: 'daily' }] }),
    facts: JSON.stringify({ version: 1, vmState: 'off', disks: [disk], excluded: [] }),
  };
  await catalogue.change(async (change) => {
    for (const [vm, { point }] of stored.entries()) {
      const row = { id: point, itemId: vms[vm]!.id, ...always };
      await change.insertInto('points').values(row).execute();
    }
  });
}

/** Short lines, again and again: no two blocks are alike. */
function blocksOf(vm: number, day: number): ReadonlyMap<number, Buffer> {
  const count = day === 0 ? FIRST_BLOCKS : CHANGED_BLOCKS;
  const first = day === 0 ? 0 : (day * CHANGED_BLOCKS) % FIRST_BLOCKS;
  return new Map(
    Array.from({ length: count }, (_, at) => [
      first + at,
      Buffer.alloc(BLOCK, `block ${first + at} of VM ${vm} on day ${day}\n`),
    ]),
  );
}

/** All that is remembered of the items, at once. */
export async function writeDocuments({ service, vaultId }: StoredVault): Promise<void> {
  const { catalogue } = service;
  const items = await catalogue.read
    .selectFrom('items')
    .selectAll()
    .where('vaultId', '=', vaultId)
    .execute();
  await changeVault(service, vaultId, async () => {
    const documents = [];
    for (const item of items) {
      const points = await catalogue.read
        .selectFrom('points')
        .select(['id', 'origin', 'expiresAt', 'retention'])
        .where('itemId', '=', item.id)
        .execute();
      documents.push(itemDocument(item, points));
    }
    return { documents, apply: async () => undefined };
  });
}
