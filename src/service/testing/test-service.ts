/** A service on a data folder of its own, with a host whose VMs are folders of images. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { realClock, type Clock } from '#base';
import type { MachineTime } from '../expiring/clock-trust.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { putHost } from '../hosts/hosts.ts';
import { getJob, type Job } from '../jobs/jobs.ts';
import type { Service } from '../service.ts';
import { openService } from '../service.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { createVault } from '../vaults/create-vault.ts';

export type TestService = {
  /** The one that is open. */
  readonly service: () => Service;
  readonly data: string;
  /** Images are in here, a folder a VM. */
  readonly images: string;
  /** What was logged as a warning or an error. */
  readonly complaints: string[];
  /** @param place the data folder from now on; absent: the same. */
  readonly restart: (place?: string) => Promise<Service>;
};

export type TestOptions = {
  readonly clock?: Clock;
  readonly settings?: Partial<ServiceSettings>;
  /** Absent: one that runs all the time. */
  readonly machine?: MachineTime;
};

export const GROUP = 'lab';
export const VAULT = { group: GROUP, name: 'v1' };

/** Closed and removed after the test. */
export async function testService(
  t: Pick<TestContext, 'after'>,
  options: TestOptions = {},
): Promise<TestService> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-service-'));
  const [data, images] = [join(folder, 'data'), join(folder, 'images')];
  mkdirSync(images);
  const complaints: string[] = [];
  const complain = (facts: object, message: string): void => {
    complaints.push(`${message} ${JSON.stringify(facts)}`);
  };
  const clock = options.clock ?? realClock();
  const machine = options.machine ?? { bootId: 'test', upMs: clock.monotonicMs };
  const open = async (place = data): Promise<Service> =>
    await openService({
      data: place,
      clock,
      machine,
      random: (sizeBytes) => randomBytes(sizeBytes),
      version: 'test',
      process: { host: 'test', pid: process.pid, command: 'test' },
      log: { info: () => undefined, warn: complain, error: complain },
      settings: { repositoryIdleMs: 100, retryDelayMs: 100, ...options.settings },
    });
  let service = await open();
  t.after(async () => {
    await service.close();
    await rm(folder, { recursive: true, force: true });
  });
  const restart = async (place?: string): Promise<Service> => {
    await service.close();
    service = await open(place);
    return service;
  };
  return { service: () => service, data, images, complaints, restart };
}

/** A VM of raw disks with random data: its folder. */
export function addImages(
  { images }: TestService,
  vm: string,
  disks: readonly { readonly name: string; readonly sizeBytes: number }[],
): string {
  const folder = join(images, vm);
  mkdirSync(folder);
  for (const { name, sizeBytes } of disks) {
    writeFileSync(join(folder, `${name}.raw`), randomBytes(sizeBytes));
  }
  return folder;
}

/** The host `lab`, its VMs found, and the vault `v1` in its group. */
export async function withVault(made: TestService): Promise<void> {
  const service = made.service();
  await putHost(service, { name: GROUP, uri: `images:${made.images}` });
  await discoverHost(service, GROUP);
  await createVault(service, { ...VAULT, tags: {}, settings: {} });
}

/** The job when it has ended. */
export async function endOf(service: Service, vaultId: string, jobId: string): Promise<Job> {
  for (;;) {
    const job = await getJob(service.catalogue.read, vaultId, jobId);
    if (job.endedAt !== undefined) return job;
    await sleep(20);
  }
}
