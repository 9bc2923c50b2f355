/**
 * A service with its API on loopback, whose time passes only when a history says so, and VMs of small raw images.
 * Nobody waits by the real clock: a hop of time is over when every loop of the service sleeps again and no job is open.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { startApi } from '#api';
import { forEachBlock } from '#repository';
import { discoverHost, putHost, putStorageAccount, readCharges } from '#service';
import { repositoryStatistics } from '#backup';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import type { Service } from '../../src/service/service.ts';
import {
  GROUP,
  testService,
  VAULT,
  withVault,
  type TestService,
} from '../../src/service/testing/test-service.ts';
import { cheapenSecret, Client, type Answer } from './client.ts';
import { CountedClock } from './counted-clock.ts';
import { BLOCK } from './storage.ts';

/** Longer than a history; told by this number from the sleeps of the loops, which are waited for. */
const IDLE_MS = 123_456_789_012_345;
const NEVER_MS = 1e15;
/** What the service does by itself, its two loops of jobs, and the API's renewal of certificates. */
const LOOPS = 10;
/** A job that is seen only by the next look. */
const LOOK_MS = 5000;
export const MINUTE_MS = 60_000;
const UNLIMITED = { burst: 1e9, perSecond: 1e9 };

const SETTINGS = {
  spreadMs: 0,
  attempts: 1,
  // One after the other: points come in the order of their ids.
  backupsAtOnce: 1,
  repositoryIdleMs: IDLE_MS,
  // Whoever asks a host sleeps on it meanwhile, and must not count as a loop.
  hostTimeoutMs: IDLE_MS,
  discoveryIntervalMs: NEVER_MS,
  expiryIntervalMs: MINUTE_MS,
  // Days are read by `World.readDays`.
  chargeLookMs: NEVER_MS,
};

export class World {
  readonly made: TestService;
  readonly clock: CountedClock;
  readonly account: string;
  #api: Awaited<ReturnType<typeof startApi>> | undefined;
  #client: Client | undefined;
  #stepsLeft = Infinity;
  /** Ids of documents and what they are, since the last `dieAfter`. */
  remembered = new Map<string, AnyJson>();

  private constructor(made: TestService, clock: CountedClock) {
    this.made = made;
    this.clock = clock;
    this.account = join(dirname(made.data), 'restored');
  }

  static async open(t: Pick<TestContext, 'after'>, startMs: number): Promise<World> {
    const clock = new CountedClock(startMs);
    const made = await testService(t, { clock, settings: SETTINGS });
    const world = new World(made, clock);
    mkdirSync(world.account);
    await withVault(made);
    await world.#addAccount();
    await world.#listen();
    t.after(async () => await world.#hang());
    await world.quiet();
    return world;
  }

  get service(): Service {
    return this.made.service();
  }

  async restart(): Promise<void> {
    await this.#hang();
    await this.made.restart();
    await this.#listen();
    await this.quiet();
  }

  /** As `restart`, after the catalogue was lost: hosts and storage accounts are in it alone (`addPlaces`). */
  async loseCatalogue(): Promise<void> {
    await this.#hang();
    await this.service.close();
    for (const end of ['', '-wal', '-shm']) {
      rmSync(join(this.made.data, `catalogue.db${end}`), { force: true });
    }
    await this.made.restart();
    await this.#listen();
    await this.quiet();
  }

  async addPlaces(): Promise<void> {
    await putHost(this.service, { name: GROUP, uri: `images:${this.made.images}` });
    await this.discover();
    await this.#addAccount();
  }

  async #addAccount(): Promise<void> {
    await putStorageAccount(this.service, { group: GROUP, name: 'sa1', path: this.account });
  }

  async #listen(): Promise<void> {
    this.#stepsLeft = Infinity;
    this.#api = await startApi(this.#mortal(), {
      host: '127.0.0.1',
      port: 0,
      machine: 'test',
      hasManagedIdentity: false,
      limits: { perAccount: UNLIMITED, perAddress: UNLIMITED },
    });
    await cheapenSecret(this.service, this.#api.adminFile);
    this.#client = new Client(this.#api, this.clock);
  }

  /** Requests fail after so many more writes, as if the service were killed there; until it is started again. */
  dieAfter(steps: number): void {
    this.#stepsLeft = steps;
    this.remembered.clear();
  }

  /** Nobody is killed any more. */
  dieNoMore(): void {
    this.#stepsLeft = Infinity;
  }

  #mortal(): Service {
    const { service } = this;
    const { repositories, catalogue } = service;
    const step = (): void => {
      this.#stepsLeft -= 1;
      if (this.#stepsLeft < 0) throw new Error('killed');
    };
    const remember: typeof repositories.remember = async (...document) => {
      step();
      const revision = await repositories.remember(...document);
      this.remembered.set(document[1], document[2]);
      return revision;
    };
    const change: typeof catalogue.change = async (work) => {
      step();
      return await catalogue.change(work);
    };
    const written = { repositories: { ...repositories, remember } };
    return { ...service, ...written, catalogue: { ...catalogue, change } };
  }

  async #hang(): Promise<void> {
    this.#client?.close();
    await this.#api?.close();
    this.#api = undefined;
  }

  /** Lets so much time pass, in one hop, and what that started come to its end. */
  async hop(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.quiet();
  }

  /** When nothing is under way any more. */
  async quiet(): Promise<void> {
    const since = performance.now();
    for (let calm = 0; calm < 3;) {
      for (let turns = 0; turns < 3; turns += 1) await turn();
      const isAsleep = this.clock.sleeping(IDLE_MS) === LOOPS;
      const open = isAsleep ? await this.#openJobs() : undefined;
      calm = open?.length === 0 ? calm + 1 : 0;
      // Nobody works at it: its runner had looked before it was written.
      if (open?.some(({ leaseOwner }) => leaseOwner === null) === true) {
        this.clock.advance(LOOK_MS);
      }
      if (performance.now() - since > 30_000) {
        const facts = { sleeping: this.clock.durations(), open, said: this.made.complaints };
        throw new Error(`the service does not come to rest: ${JSON.stringify(facts)}`);
      }
      if (calm === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async #openJobs() {
    const query = this.service.catalogue.read.selectFrom('jobs').select(['id', 'leaseOwner']);
    return await query.where('endedAt', 'is', null).execute();
  }

  /** The days that have ended are read for charges. */
  async readDays(): Promise<void> {
    await readCharges(this.service);
  }

  async discover(): Promise<void> {
    await discoverHost(this.service, GROUP);
  }

  // The API

  get vaultPath(): string {
    return `${this.#group()}/providers/Microsoft.RecoveryServices/vaults/${VAULT.name}`;
  }

  get ownVault(): string {
    return this.vaultPath.replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
  }

  get accountId(): string {
    return `${this.#group()}/providers/Microsoft.Storage/storageAccounts/sa1`;
  }

  #group(): string {
    return `/subscriptions/${this.#api!.subscriptionId}/resourceGroups/${GROUP}`;
  }

  vmId(vm: string): string {
    return `${this.#group()}/providers/Microsoft.Compute/virtualMachines/${vm}`;
  }

  itemName(vm: string): string {
    return `VM;iaasvmcontainerv2;${GROUP};${vm}`;
  }

  itemPath(vm: string, vault = this.vaultPath): string {
    const of = `iaasvmcontainerv2;${GROUP};${vm}`;
    return `${vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${of}/protectedItems/VM;${of}`;
  }

  /** @param name absent: all of them. */
  groupPath(name?: string): string {
    return `${this.ownVault}/consistencyGroups${name === undefined ? '' : `/${name}`}`;
  }

  async call(method: string, path: string, body?: unknown): Promise<Answer> {
    return await this.#client!.call(method, path, body);
  }

  async get(path: string): Promise<AnyJson> {
    const { status, body } = await this.call('GET', path);
    assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`);
    return body;
  }

  // VMs and what is stored

  /** All disks of a VM as they are now. */
  writeVm(vm: string, content: ReadonlyMap<string, readonly number[]>): void {
    const folder = this.#folder(vm);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const [disk, tokens] of content) {
      writeFileSync(join(folder, `${disk}.raw`), Buffer.concat(tokens.map(bytesOf)));
    }
  }

  moveVm(vm: string, to: 'away' | 'back'): void {
    const [folder, away] = [this.#folder(vm), join(dirname(this.made.images), `away-${vm}`)];
    if (to === 'away') renameSync(folder, away);
    else renameSync(away, folder);
  }

  #folder(vm: string): string {
    return join(this.made.images, vm);
  }

  /** When the schedule looks next, as the service noted it. */
  async nextRuns(): Promise<readonly number[]> {
    const query = this.service.catalogue.read.selectFrom('items').select('nextRunAt');
    const items = await query.where('nextRunAt', 'is not', null).execute();
    return items.map(({ nextRunAt }) => nextRunAt!);
  }

  /** The disks that a restore has made, the system disk first; they are removed. */
  takeRestored(): readonly Buffer[] {
    const images = readdirSync(this.account, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(qcow2|raw)$/.test(name))
      .toSorted(
        (one, other) => Number(one.includes('datadisk')) - Number(other.includes('datadisk')),
      );
    const disks = images.map((image) => {
      // Disks that are replaced are of the format that they had.
      if (image.endsWith('.raw')) return readFileSync(join(this.account, image));
      const raw = join(this.account, 'raw');
      const from = ['-f', 'qcow2', '-O', 'raw', join(this.account, image)];
      execFileSync('qemu-img', ['convert', ...from, raw]);
      return readFileSync(raw);
    });
    for (const name of readdirSync(this.account)) {
      rmSync(join(this.account, name), { recursive: true });
    }
    return disks;
  }

  async liveBytes(): Promise<number> {
    return await this.service.repositories.use(
      await this.#vaultId(),
      async ({ parts }) => repositoryStatistics(parts).liveBytes,
    );
  }

  /** Points that are there, in the order of the log. */
  async log(): Promise<readonly string[]> {
    return await this.service.repositories.use(await this.#vaultId(), async ({ state }) => [
      ...state.points.keys(),
    ]);
  }

  async #vaultId(): Promise<string> {
    const query = this.service.catalogue.read.selectFrom('vaults').select('id');
    return (await query.executeTakeFirstOrThrow()).id;
  }

  /** What a point holds, read from the repository as restores do: by its maps, each block checked. */
  async readPoint(id: string): Promise<Map<string, Buffer>> {
    return await this.service.repositories.use(await this.#vaultId(), async ({ parts, state }) => {
      const reader = parts.keeper.newReader();
      const disks = new Map<string, Buffer>();
      for (const { name, root, sizeBytes } of state.points.get(id)!.disks) {
        const content = Buffer.alloc(sizeBytes);
        const range = { fromBlock: 0, toBlock: Math.ceil(sizeBytes / BLOCK) };
        const map = { pages: reader, root: Buffer.from(root, 'hex'), ...range };
        const places: (readonly [number, Buffer])[] = [];
        await forEachBlock(map, ({ page, firstBlock, fromEntry, toEntry }) => {
          for (let entry = fromEntry; entry < toEntry; entry += 1) {
            const block = Buffer.from(page.subarray(entry * 16, entry * 16 + 16));
            if (block.some((byte) => byte !== 0)) places.push([firstBlock + entry, block]);
          }
        });
        for (const [at, block] of places) (await reader.read(block)).copy(content, at * BLOCK);
        disks.set(name, content);
      }
      return disks;
    });
  }
}

const contents = new Map<number, Buffer>();

/** The bytes that a token stands for: none of them compresses; 0 is zeros. */
export function bytesOf(token: number): Buffer {
  const known = contents.get(token);
  if (known !== undefined) return known;
  const parts = Array.from({ length: token === 0 ? 0 : BLOCK / 64 }, (_, at) =>
    createHash('sha512').update(`${token} ${at}`).digest(),
  );
  const made = token === 0 ? Buffer.alloc(BLOCK) : Buffer.concat(parts);
  contents.set(token, made);
  return made;
}
