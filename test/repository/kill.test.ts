/**
 * A process that works on a repository in a folder is killed at random moments. What it had said to be
 * committed is there, everything restores, and in the end nothing is left over.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { compactRepository, placeInFolder, type Repository } from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { diskOf } from './faulted-operations.ts';
import { assertOnlyKnown, assertWhole, visibleOf } from './soundness.ts';
import { seeded, World } from './world.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const KILLS = isLong ? 500 : 40;
/** Repositories, each with its own process. */
const LANES = 2;
/** The latest moment after the opening; each round of work takes some 10 ms. */
const LATEST_MS = 400;
const CHILD = fileURLToPath(new URL('kill-child.ts', import.meta.url));

/** A repository in a folder, and what its processes have said. */
class Killed {
  readonly root = mkdtempSync(join(tmpdir(), 'holdfast-kill-'));
  readonly folder = join(this.root, 'repository');
  readonly world: World;
  readonly committed = new Set<string>();
  readonly #temporary = join(this.root, 'temporary');
  store!: ObjectStore;

  constructor(seed: number) {
    this.world = new World({ seed, memtableRecords: 256 });
  }

  async init(): Promise<void> {
    for (const folder of [this.folder, this.#temporary]) mkdirSync(folder);
    this.store = await openStore(this.folder);
    await this.world.init(this.store);
  }

  open(overrides: Parameters<World['open']>[0] = {}): Promise<Repository> {
    return this.world.open({
      store: this.store,
      place: placeInFolder(this.folder),
      ...overrides,
    });
  }

  spawn(mode: 'work' | 'hold', seed: number): ChildProcessWithoutNullStreams {
    const flags = ['--disable-warning=ExperimentalWarning', CHILD, mode];
    return spawn(process.execPath, [...flags, this.folder, String(seed)], {
      env: { ...process.env, TMPDIR: this.#temporary },
    });
  }

  /** Lets a process work, and kills it so long after it has opened the repository. */
  async runAndKill(seed: number, afterMs: number): Promise<void> {
    const child = this.spawn('work', seed);
    const exit = once(child, 'exit');
    const errors: Buffer[] = [];
    child.stderr.on('data', (bytes: Buffer) => errors.push(bytes));
    for await (const line of createInterface(child.stdout)) {
      const [word, ...rest] = line.split(' ');
      if (word === 'open') void setTimeout(afterMs).then(() => child.kill('SIGKILL'));
      else this.#take(word!, rest);
    }
    const [, signal] = (await exit) as [number | null, string | null];
    assert.equal(signal, 'SIGKILL', Buffer.concat(errors).toString());
  }

  #take(word: string, rest: readonly string[]): void {
    const [point, first] = rest;
    if (word === 'committing') this.world.expected.set(point!, diskOf(Number(first)));
    if (word === 'committed') this.committed.add(point!);
    if (word === 'expiring') for (const gone of rest) this.committed.delete(gone);
  }

  async check(): Promise<void> {
    const repository = await this.open();
    const visible = visibleOf(repository);
    const lost = [...this.committed].filter((point) => !visible.includes(point));
    assert.deepEqual(lost, [], 'committed points are gone');
    for (const point of visible) this.committed.add(point);
    await assertWhole(this.world, repository);
    await repository.close();
  }

  async checkTidy(): Promise<void> {
    const repository = await this.open();
    await compactRepository(repository.parts);
    await assertWhole(this.world, repository);
    const names: string[] = [];
    for await (const { name } of this.store.list('')) names.push(name);
    const isObject = (name: string): boolean => !/^(index|locks|readers)\//.test(name);
    const unfinished = readdirSync(join(this.folder, '.unfinished'));
    assertOnlyKnown(repository, { names: names.filter(isObject), unfinished });
    await repository.close();
  }

  async remove(): Promise<void> {
    await this.store.close();
    this.world.remove();
    rmSync(this.root, { recursive: true, force: true });
  }
}

test(`a process killed ${KILLS} times loses nothing that it had committed`, async (t) => {
  const first = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${first}; again: HOLDFAST_TEST_SEED=${first}`);
  const lane = async (number: number): Promise<number> => {
    const killed = new Killed(first + 1_000_000 * (number + 1));
    const random = seeded(first + number);
    await killed.init();
    for (let kill = 0; kill < KILLS / LANES; kill += 1) {
      await killed.runAndKill(first + 1000 * (number + 1) + kill, random(LATEST_MS));
      await killed.check();
    }
    await killed.checkTidy();
    await killed.remove();
    return killed.world.expected.size;
  };
  const points = await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
  t.diagnostic(`${points.join(' + ')} points`);
});

test('a repository that another process holds is refused with who holds it, and readers work beside it', async () => {
  const killed = new Killed(1);
  await killed.init();
  const child = killed.spawn('hold', 2);
  const exit = once(child, 'exit');
  await once(child.stdout, 'data');
  await assert.rejects(killed.open(), {
    code: 'RepositoryHeld',
    message: new RegExp(`process ${child.pid} `),
  });
  const reader = await killed.open({ access: 'read' });
  await assertWhole(killed.world, reader);
  await reader.close();
  child.kill('SIGKILL');
  await exit;
  await killed.check();
  await killed.remove();
});
