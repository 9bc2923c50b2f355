/**
 * A service under a running schedule of twenty VMs is killed at random moments (`kill -9`), its user amid this and
 * that. After each start the doctor finds nothing; now and then all is let come to rest and looked at whole.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { verify } from '#backup';
import { putGroup } from './consistency-groups/consistency-groups.ts';
import { examine } from './doctor/doctor.ts';
import { discoverHost } from './hosts/discovery.ts';
import { putHost } from './hosts/hosts.ts';
import { listItems } from './items/items.ts';
import { protect } from './items/protect.ts';
import { listJobs } from './jobs/jobs.ts';
import { listPoints, type Point } from './points/points.ts';
import { putPolicy } from './policies/policies.ts';
import { defaultPolicy } from './policy/default-policy.ts';
import { startRestore } from './restoring/start-restore.ts';
import { openService, type Service } from './service.ts';
import { DEFAULT_SETTINGS } from './service-settings.ts';
import { putStorageAccount } from './storage-accounts/storage-accounts.ts';
import { fastClock, restingClock } from './testing/fast-clock.ts';
import {
  ACCOUNT,
  CONSISTENT,
  CONSISTENT_COUNT,
  KILL_SETTINGS,
  KillWorld,
  POLICY,
  VM_COUNT,
  vmName,
} from './testing/kill-world.ts';
import { seeded } from './testing/seeded.ts';
import { endOf, GROUP, VAULT } from './testing/test-service.ts';
import { createVault } from './vaults/create-vault.ts';
import { getVault } from './vaults/vaults.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const KILLS = isLong ? 500 : 40;
/** So many kills, then rest. */
const KILLS_A_LOOK = 20;
/** The latest moment after the service has opened. */
const LATEST_MS = 1500;
/** One in so many is killed while it opens. */
const ONE_WHILE_OPENING = 5;
const OPENING_MS = 900;
/** Four hours pass in six seconds. */
const SPEED = 2400;
/** So long without any job's end, with jobs that are open: much more than one takes on a busy machine. */
const HANG_MS = 60_000;
const RESTORES_A_LOOK = 4;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Points of an hourly day may expire after this many days, but for the last of each; younger ones may not. */
const KEPT_DAYS = 7;
const YOUNG_DAYS = KEPT_DAYS - 1;
/** The daily rule of the default policy. */
const DAILY_DAYS = 30;
const CHILD = fileURLToPath(new URL('testing/kill-child.ts', import.meta.url));

class Killed {
  readonly #root = mkdtempSync(join(tmpdir(), 'holdfast-service-kill-'));
  readonly #data = join(this.#root, 'data');
  readonly #world = new KillWorld(this.#root);
  readonly #sinceMs = Date.now();
  readonly #random: (limit: number) => number;
  readonly #errors: string[] = [];
  /** Points whose job was seen to have ended well, `vm id`, and when it began by the service's clock: before them. */
  readonly acknowledged = new Map<string, number>();
  /** Points that a rule of days keeps, `vm id`, as earlier looks found them, and when each was taken. */
  readonly #ofDays = new Map<string, number>();
  /** When VMs go that were soft-deleted at the last look. */
  readonly #goneAt = new Map<string, number | undefined>();

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  async #open(): Promise<Service> {
    const quiet = { info: () => undefined, warn: () => undefined };
    const complain = (facts: object, message: string): void =>
      void this.#errors.push(`${message} ${JSON.stringify(facts)}`);
    const clock = restingClock(this.#nowMs());
    return await openService({
      data: this.#data,
      clock,
      machine: { bootId: 'kill', upMs: clock.nowMs },
      random: (sizeBytes) => randomBytes(sizeBytes),
      version: 'test',
      process: { host: 'test', pid: process.pid, command: 'kill-test' },
      log: { ...quiet, error: complain },
      settings: KILL_SETTINGS,
    });
  }

  async setUp(): Promise<void> {
    this.#world.create(this.#random);
    const service = await this.#open();
    await putHost(service, { name: GROUP, uri: `images:${this.#world.images}` });
    await discoverHost(service, GROUP);
    await createVault(service, { ...VAULT, tags: {}, settings: {} });
    await putStorageAccount(service, { ...ACCOUNT, path: this.#world.account });
    const schedule = {
      frequency: 'hourly',
      intervalHours: 4,
      windowStart: '00:00',
      windowHours: 24,
    };
    const draft = {
      ...defaultPolicy('02:00'),
      kind: 'enhanced',
      schedule,
      instantRestoreDays: KEPT_DAYS,
    };
    await putPolicy(service, { vault: VAULT, name: POLICY }, { draft });
    for (let number = 0; number < VM_COUNT; number += 1) {
      const vm = { group: GROUP, name: vmName(number) };
      await protect(service, { vault: VAULT, vm }, { policy: POLICY });
    }
    const members = Array.from({ length: CONSISTENT_COUNT }, (_, number) => ({
      group: GROUP,
      name: vmName(number),
    }));
    await putGroup(service, { vault: VAULT, name: CONSISTENT }, { members, policy: POLICY });
    await service.close();
  }

  /** Runs the service, and kills it at a random moment; between two of them a disk changes. */
  async runAndKill(): Promise<void> {
    await this.#world.change(this.#random);
    const whileOpening = this.#random(ONE_WHILE_OPENING) < 1;
    const afterMs = this.#random(whileOpening ? OPENING_MS : LATEST_MS);
    const places = [this.#data, String(this.#sinceMs), String(SPEED)];
    const seed = String(Math.floor(this.#random(2 ** 31)));
    const flags = ['--disable-warning=ExperimentalWarning', CHILD];
    const child = spawn(process.execPath, [...flags, ...places, seed]);
    const exit = once(child, 'exit');
    const errors: Buffer[] = [];
    child.stderr.on('data', (bytes: Buffer) => errors.push(bytes));
    const kill = (): void => void sleep(afterMs).then(() => child.kill('SIGKILL'));
    if (whileOpening) kill();
    const said: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      const [word, ...rest] = line.split(' ');
      if (word === 'open' && !whileOpening) kill();
      else if (word === 'acked') this.#acknowledge(rest);
      else if (word !== 'open') said.push(line);
    }
    const [, signal] = (await exit) as [number | null, string | null];
    assert.equal(signal, 'SIGKILL', Buffer.concat(errors).toString());
    assert.deepEqual(said, []);
  }

  #acknowledge([startedAt, ...point]: readonly string[]): void {
    this.acknowledged.set(point.join(' '), Number(startedAt));
  }

  #nowMs(): number {
    return fastClock({ sinceMs: this.#sinceMs, speed: SPEED }).nowMs();
  }

  /** Lets everything come to its end, and looks at it. */
  async look(): Promise<number> {
    const service = await this.#open();
    try {
      return await this.#lookAt(service);
    } finally {
      await service.close();
    }
  }

  async #lookAt(service: Service): Promise<number> {
    const { id: vaultId } = await getVault(service.catalogue.read, VAULT);
    const { read } = service.catalogue;
    const open = read.selectFrom('jobs').selectAll().where('endedAt', 'is', null);
    const ended = read.selectFrom('jobs').select('id').where('endedAt', 'is not', null);
    let last = { ended: 0, atMs: Date.now() };
    while ((await open.execute()).length > 0) {
      const { length: now } = await ended.execute();
      if (now > last.ended) last = { ended: now, atMs: Date.now() };
      const isHanging = Date.now() - last.atMs > HANG_MS;
      assert.ok(!isHanging, `hang: ${JSON.stringify(await open.execute())}`);
      await sleep(50);
    }
    const leased = read.selectFrom('jobs').select('id').where('leaseOwner', 'is not', null);
    assert.deepEqual(await leased.execute(), [], 'a lease stays');
    const jobs = await listJobs(read, vaultId, {});
    const unclear = jobs.filter(
      ({ status, failure }) => status === 'Failed' && failure === undefined,
    );
    assert.deepEqual(unclear, [], 'a job failed without a reason');
    const findings = (await examine(service)).filter(({ severity }) => severity === 'error');
    assert.deepEqual(findings, []);
    assert.deepEqual(this.#errors, []);
    const points = await this.#points(service);
    const there = new Set(points.map(({ vm, point }) => `${vm} ${point.id}`));
    const youngMs = service.clock.nowMs() - YOUNG_DAYS * DAY_MS;
    const lost = [...this.acknowledged].filter(
      ([one, startedAt]) => !there.has(one) && startedAt > youngMs,
    );
    assert.deepEqual(lost, [], 'points are lost');
    await this.#checkItems(service);
    this.#checkDays(points, service.clock.nowMs());
    assertWholeGroups(points, service.clock.nowMs());
    await this.#checkPoints(service, vaultId, points);
    // Those of the last kill may be in use a moment longer, by tools about to end; older ones have gone.
    const scratch = readdirSync(join(this.#data, 'scratch'));
    assert.ok(scratch.length <= DEFAULT_SETTINGS.backupsAtOnce, scratch.join());
    return points.length;
  }

  #checkDays(
    points: readonly { readonly vm: string; readonly point: Point }[],
    nowMs: number,
  ): void {
    const there = new Set(points.map(({ vm, point }) => `${vm} ${point.id}`));
    const oldest = nowMs - (DAILY_DAYS - 1) * DAY_MS;
    const lost = [...this.#ofDays].filter(([one, takenAt]) => takenAt > oldest && !there.has(one));
    assert.deepEqual(lost, [], 'points that a rule of days keeps are lost');
    for (const { vm, point } of points) {
      const isOfDay = point.retention.tags.some((tag) => tag.class === 'daily');
      if (isOfDay) this.#ofDays.set(`${vm} ${point.id}`, point.takenAt);
    }
  }

  /** On a busy machine its user may leave one deleted until it goes, with its points. */
  async #checkItems({ catalogue, clock }: Service): Promise<void> {
    const items = new Map((await listItems(catalogue.read, VAULT)).map((one) => [one.vmName, one]));
    for (let number = 0; number < VM_COUNT; number += 1) {
      const vm = vmName(number);
      const item = items.get(vm);
      const goneAt = this.#goneAt.get(vm);
      const isNew = item !== undefined && goneAt !== undefined && item.createdAt >= goneAt;
      if (item === undefined || isNew) {
        assert.ok(goneAt !== undefined && goneAt <= clock.nowMs(), `${vm} is lost`);
        for (const one of this.#ofDays.keys())
          if (one.startsWith(`${vm} `)) this.#ofDays.delete(one);
      }
      if (item !== undefined) this.#goneAt.set(vm, item.purgeAt);
    }
  }

  async #points(service: Service): Promise<readonly { vm: string; point: Point }[]> {
    const items = await listItems(service.catalogue.read, VAULT);
    const all = items.map(async ({ id, vmName: vm }) =>
      (await listPoints(service.catalogue.read, id)).map((point) => ({ vm, point })),
    );
    return (await Promise.all(all)).flat();
  }

  /** All of them by reading every byte of the repository; some by restoring them. */
  async #checkPoints(
    service: Service,
    vaultId: string,
    points: readonly { readonly vm: string; readonly point: Point }[],
  ): Promise<void> {
    const found = await service.repositories.use(vaultId, async (repository) =>
      verify(repository, { readDataPercent: 100 }),
    );
    assert.deepEqual([found.damage, found.points], [[], []]);
    for (let restore = 0; restore < RESTORES_A_LOOK; restore += 1) {
      const { vm, point } = points[Math.floor(this.#random(points.length))]!;
      const name = { vault: VAULT, vm: { group: GROUP, name: vm } };
      const request = { kind: 'disks', point: point.id, account: ACCOUNT } as const;
      const { jobId } = await startRestore(service, name, request);
      const job = await endOf(service, vaultId, jobId);
      assert.equal(job.status, 'Completed', JSON.stringify(job));
      const image = job.properties['Restored Files']!.split(', ').find((path) =>
        path.endsWith('.qcow2'),
      )!;
      assert.ok(
        this.#world.wasContentOf(vm, image),
        `${vm} ${point.id} holds what the VM never held`,
      );
      rmSync(job.properties['Target Folder']!, { recursive: true });
    }
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** Points that are old enough to expire may go one by one. */
function assertWholeGroups(
  points: readonly { readonly vm: string; readonly point: Point }[],
  nowMs: number,
): void {
  const there = new Set(points.map(({ point }) => point.id));
  const young = points.filter(({ point }) => point.takenAt > nowMs - YOUNG_DAYS * DAY_MS);
  for (const { vm, point } of young) {
    const lacking = point.facts.group?.points.filter((one) => !there.has(one.point)) ?? [];
    assert.deepEqual(lacking, [], `half a group, of which ${vm} has ${point.id}`);
  }
}

test(`a service killed ${KILLS} times under a running schedule loses no point, leaves no job and no lease`, async (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const killed = new Killed(seed);
  t.after(() => killed.remove());
  await killed.setUp();
  let points = 0;
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await killed.runAndKill();
    if (kill % KILLS_A_LOOK === 0) points = await killed.look();
  }
  t.diagnostic(`${points} points, ${killed.acknowledged.size} of them told as done before a kill`);
});
