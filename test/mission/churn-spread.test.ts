/**
 * M20: churn that is spread over disks is backed up faster than on one, and contiguous churn faster than
 * scattered. Each disk is throttled as real ones are: it answers one request a round. What is counted is
 * rounds and requests; no time is measured.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { startNbdServer, type Extent, type ServedDisk } from '#disk';
import { BLOCK, MIB, noise } from './images.ts';
import { MissionRepository } from './mission-repository.ts';

/** A round is over when for this long nobody has asked anything. */
const QUIET_MS = 15;
const CHURN = 32 * MIB;

/** A disk whose requests wait for their round; every disk answers one a round. */
class ThrottledDisk implements ServedDisk {
  readonly sizeBytes: number;
  readonly #content: Buffer;
  readonly #waiting: (() => void)[] = [];
  requests = 0;
  /** False: answers at once. */
  isThrottled = true;
  askedAt = 0;

  constructor(content: Buffer) {
    this.#content = content;
    this.sizeBytes = content.length;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.requests += 1;
    this.askedAt = performance.now();
    if (this.isThrottled) await new Promise<void>((answer) => this.#waiting.push(answer));
    this.#content.copy(target, 0, offset, offset + target.length);
  }

  /** @returns whether anybody was waiting. */
  answerOne(): boolean {
    const answer = this.#waiting.shift();
    answer?.();
    return answer !== undefined;
  }

  change(extents: readonly Extent[], seed: string): void {
    for (const { offset, length } of extents)
      noise(`${seed} ${offset}`, length).copy(this.#content, offset);
  }
}

/** Lets the disks answer round by round until `work` ends. @returns the rounds in which one answered. */
async function roundsOf(disks: readonly ThrottledDisk[], work: Promise<unknown>): Promise<number> {
  let isDone = false;
  const done = work.finally(() => (isDone = true));
  let rounds = 0;
  while (!isDone) {
    await sleep(QUIET_MS);
    const askedAt = Math.max(...disks.map((disk) => disk.askedAt));
    if (performance.now() - askedAt < QUIET_MS) continue;
    if (disks.map((disk) => disk.answerOne()).includes(true)) rounds += 1;
  }
  await done;
  return rounds;
}

type Served = {
  readonly vault: MissionRepository;
  readonly disks: readonly ThrottledDisk[];
  readonly sources: readonly { readonly name: string; readonly location: string }[];
};

async function serve(
  t: { readonly after: (act: () => void | Promise<void>) => void },
  contents: readonly Buffer[],
): Promise<Served> {
  const vault = await MissionRepository.create(t);
  const disks = contents.map((content) => new ThrottledDisk(content));
  const names = disks.map((_, at) => `vd${String.fromCodePoint(97 + at)}`);
  const server = await startNbdServer({
    exports: new Map(disks.map((disk, at) => [names[at]!, disk])),
    listen: { socketPath: join(vault.folder, 'vm.sock') },
  });
  t.after(async () => await server.close());
  return { vault, disks, sources: names.map((name) => ({ name, location: server.uri(name) })) };
}

test('M20 the same churn on four disks (VM2) takes fewer rounds than on two (VM3), and on two than on one (VM1)', async (t) => {
  const rounds = new Map<number, number>();
  for (const count of [4, 2, 1]) {
    const contents = Array.from({ length: count }, (_, at) => noise(`${at}`, CHURN / count));
    const { vault, disks, sources } = await serve(t, contents);
    rounds.set(count, await roundsOf(disks, vault.backUpUnseen([...sources], { threads: 4 })));
  }
  const [vm2, vm3, vm1] = [rounds.get(4)!, rounds.get(2)!, rounds.get(1)!];
  t.diagnostic(`rounds: VM2 ${vm2}, VM3 ${vm3}, VM1 ${vm1}`);
  assert.ok(vm2 < 0.7 * vm3, `${vm2} rounds with four disks, ${vm3} with two`);
  assert.ok(vm3 < 0.7 * vm1, `${vm3} rounds with two disks, ${vm1} with one`);
});

test('M20 contiguous changes take fewer requests than as many scattered ones, and both the same bytes', async (t) => {
  const blocks = 64;
  const contiguous = [{ offset: 8 * MIB, length: blocks * BLOCK }];
  const scattered = Array.from({ length: blocks }, (_, at) => ({
    offset: at * 16 * BLOCK,
    length: BLOCK,
  }));
  const figures: { requests: number; changed: number }[] = [];
  for (const [seed, extents] of Object.entries({ contiguous, scattered })) {
    const { vault, disks, sources } = await serve(t, [noise(seed, CHURN)]);
    const [disk] = disks;
    disk!.isThrottled = false;
    await vault.backUpUnseen([...sources]);
    disk!.requests = 0;
    disk!.change(extents, seed);
    const result = await vault.backUpUnseen([{ ...sources[0]!, hint: extents }]);
    figures.push({ requests: disk!.requests, changed: result.disks[0]!.changed });
  }
  const [near, far] = figures;
  t.diagnostic(`requests: contiguous ${near!.requests}, scattered ${far!.requests}`);
  assert.equal(near!.changed, blocks * BLOCK);
  assert.equal(far!.changed, blocks * BLOCK);
  assert.ok(near!.requests + blocks / 2 < far!.requests, `${near!.requests} and ${far!.requests}`);
});
