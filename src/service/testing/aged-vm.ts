/** A VM `web` of one small disk under protection, whose days pass when a test says so. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock } from '#base';
import { pointSizes, repositoryStatistics } from '#backup';
import { backUpNow } from '../backing-up/start-backup.ts';
import type { MachineTime } from '../expiring/clock-trust.ts';
import { getItem, type Item, type ItemName } from '../items/items.ts';
import { protect } from '../items/protect.ts';
import { getJob, listJobs, type Job } from '../jobs/jobs.ts';
import { shownPoints, type ShownPoint } from '../points/planned-points.ts';
import { putPolicy } from '../policies/policies.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import type { Service } from '../service.ts';
import type { ServiceSettings } from '../service-settings.ts';
import {
  addImages,
  GROUP,
  testService,
  VAULT,
  withVault,
  type TestService,
} from './test-service.ts';

const DAY_MS = 86_400_000;
export const BLOCK = 16 * 1024;
export const WEB: ItemName = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

export type AgedVm = Awaited<ReturnType<typeof agedVm>>;

export type AgedOptions = {
  /** Absent: DefaultPolicy. */
  readonly policy?: BackupPolicy;
  readonly blockCount?: number;
  readonly settings?: Partial<ServiceSettings>;
  readonly clock?: FakeClock;
  readonly machine?: MachineTime;
};

/** It is 2026-01-01, 00:00 UTC. */
export async function agedVm(t: TestContext, options: AgedOptions = {}) {
  const { policy, blockCount = 4, clock = new FakeClock(), machine } = options;
  const settings = { spreadMs: 0, ...options.settings };
  const made = await testService(t, {
    clock,
    settings,
    ...(machine === undefined ? {} : { machine }),
  });
  addImages(made, 'web', [{ name: 'a', sizeBytes: blockCount * BLOCK }]);
  await withVault(made);
  const vm = new Machine(made, clock);
  // Zeros are not stored.
  for (let block = 0; block < blockCount; block += 1) vm.write({ [block]: undefined });
  if (policy !== undefined) await vm.putPolicy(policy, 'P');
  await protect(made.service(), WEB, { policy: policy === undefined ? 'DefaultPolicy' : 'P' });
  return vm;
}

class Machine {
  readonly made: TestService;
  readonly clock: FakeClock;

  constructor(made: TestService, clock: FakeClock) {
    this.made = made;
    this.clock = clock;
  }

  get service(): Service {
    return this.made.service();
  }

  /** Blocks of the disk by number; undefined: zeros. */
  write(blocks: Readonly<Record<number, string | undefined>>): void {
    const file = openSync(join(this.made.images, 'web', 'a.raw'), 'r+');
    for (const [block, content] of Object.entries(blocks)) {
      const bytes = Buffer.alloc(BLOCK, content ?? '\0');
      writeSync(file, bytes, 0, BLOCK, Number(block) * BLOCK);
    }
    closeSync(file);
  }

  async item(): Promise<Item> {
    return await getItem(this.service.catalogue.read, WEB);
  }

  async putPolicy(policy: BackupPolicy, name = 'P'): Promise<void> {
    await putPolicy(this.service, { vault: VAULT, name }, { draft: policy });
  }

  /** Backs up on demand. @returns the point. */
  async backUp(days = 30): Promise<string> {
    const until = this.clock.nowMs() + days * DAY_MS;
    const job = await this.ended((await backUpNow(this.service, WEB, until)).jobId);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
    return job.pointId!;
  }

  /** Lets the next run of the schedule come, and its job end. @returns the job. */
  async nextScheduled(): Promise<Job> {
    const before = new Set((await this.jobs('Backup')).map(({ id }) => id));
    let job: Job | undefined;
    while (job === undefined) {
      const { nextRunAt } = await this.item();
      const leapMs = (nextRunAt ?? 0) - this.clock.nowMs();
      this.clock.advance(Math.max(leapMs, 1000));
      await sleep(5);
      job = (await this.jobs('Backup')).find(({ id }) => !before.has(id));
    }
    return await this.ended(job.id);
  }

  async jobs(operation: Job['operation']): Promise<readonly Job[]> {
    const { vaultId } = await this.item();
    return await listJobs(this.service.catalogue.read, vaultId, { operations: [operation] });
  }

  async ended(jobId: string): Promise<Job> {
    const { vaultId } = await this.item();
    for (;;) {
      const job = await getJob(this.service.catalogue.read, vaultId, jobId);
      if (job.endedAt !== undefined) return job;
      this.clock.advance(100);
      await sleep(5);
    }
  }

  /** Lets time pass in one leap, and what it started come to its end. */
  async pass(days: number): Promise<void> {
    this.clock.advance(days * DAY_MS);
    await this.settled();
  }

  /** When no job is open any more. */
  async settled(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      this.clock.advance(1000);
      await sleep(5);
      const query = this.service.catalogue.read.selectFrom('jobs').select('id');
      const open = await query.where('endedAt', 'is', null).execute();
      quiet = open.length === 0 ? quiet + 1 : 0;
    }
  }

  /** Oldest first. */
  async points(): Promise<readonly ShownPoint[]> {
    const { read } = this.service.catalogue;
    return (await shownPoints(read, await this.item(), this.clock.nowMs())).toReversed();
  }

  async pointIds(): Promise<readonly string[]> {
    return (await this.points()).map(({ point }) => point.id);
  }

  /** How many blocks each point that the repository has owns, oldest first; and what is live in it. */
  async stored() {
    const { vaultId } = await this.item();
    return await this.service.repositories.use(vaultId, async ({ parts }) => {
      const sizes = await pointSizes(parts);
      const owned = sizes.map(({ id, disks }) => [id, disks[0]!.owned / BLOCK] as const);
      return { owned, liveBytes: repositoryStatistics(parts).liveBytes };
    });
  }
}
