/**
 * What holds for every `Hypervisor`, run on each with real VMs or images: how a backup is prepared, taken,
 * read, released, and how changes are followed from one to the next.
 */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { HoldfastError, isHoldfastError, type ErrorCode } from '#base';
import { totalBytes } from '#disk';
import type { Hypervisor } from '#hypervisor';
import { BackupHistory, newPoint } from './backup-history.ts';

export type ContractSubject = {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  /** An empty folder. */
  readonly scratchDir: string;
  /** Names of disks that can be tracked; all that the VM has. */
  readonly disks: readonly string[];
  /** Writes something new, less than half of a disk, onto each disk; durable on return. */
  change(): Promise<void>;
  /** What a backup left in the hypervisor: nodes, jobs, exports; and names of our bitmaps on the disks. */
  traces(): Promise<{ readonly others: readonly string[]; readonly bitmaps: readonly string[] }>;
};

/** Defines the tests; each gets a subject of its own, which goes with the test. */
export function hypervisorContract(
  kind: string,
  make: (t: TestContext) => Promise<ContractSubject>,
): void {
  test(`${kind}: lists its VMs, finds one by name, and names those that there are`, async (t) => {
    const { hypervisor, vm, disks } = await make(t);
    const listed = (await hypervisor.list()).find(({ name }) => name === vm);
    assert.deepEqual(listed, await hypervisor.find(vm));
    assert.deepEqual(listed?.disks.map(({ name }) => name).toSorted(), disks.toSorted());
    for (const { sizeBytes, refusal } of listed?.disks ?? []) {
      assert.ok(sizeBytes > 0);
      assert.equal(refusal, undefined);
    }
    await assert.rejects(hypervisor.find('no such vm'), (error) => {
      assert.ok(isHoldfastError(error, 'VmNotFound'), String(error));
      assert.match(error.message, new RegExp(vm));
      return true;
    });
    const definition = await hypervisor.definition(vm);
    assert.equal(definition.hypervisor, hypervisor.kind);
    assert.deepEqual(definition.vm, listed);
  });

  test(`${kind}: the second backup finds by bitmap what changed, and a failed one loses nothing`, async (t) => {
    const subject = await make(t);
    const history = historyOf(subject);
    expectTracking(await history.take(), 'initial');
    await expectBitmaps(subject, 1);

    await subject.change();
    const second = await history.take();
    expectTracking(second, 'bitmap');
    for (const { name, dirty = [], sizeBytes } of second.values()) {
      assert.ok(totalBytes(dirty) > 0, `${name} was written to`);
      assert.ok(totalBytes(dirty) < sizeBytes / 2, `${name}: not all of it was`);
    }
    await expectBitmaps(subject, 1);

    await subject.change();
    expectTracking(await history.take({ outcome: 'failed' }), 'bitmap');
    await expectBitmaps(subject, 1);
    await subject.change();
    expectTracking(await history.take(), 'bitmap');
    await expectBitmaps(subject, 1);
    await subject.hypervisor.close();
    await subject.hypervisor.close();
  });

  test(`${kind}: prepared and closed, or a first backup that failed, is as if it had not been`, async (t) => {
    const subject = await make(t);
    const history = historyOf(subject);
    const prepared = await history.prepare();
    assert.deepEqual(prepared.disks.map(({ name }) => name).toSorted(), subject.disks.toSorted());
    await prepared.close();
    await prepared.close();
    await expectBitmaps(subject, 0);
    expectTracking(await history.take({ outcome: 'failed' }), 'initial');
    await expectBitmaps(subject, 0);
  });

  test(`${kind}: a bitmap is not used without its point, with another fingerprint, by another repository`, async (t) => {
    const subject = await make(t);
    const history = historyOf(subject);
    await history.take();
    const other = historyOf(subject);
    expectTracking(await other.take(), 'initial');
    await expectBitmaps(subject, 2);

    const name = subject.disks[0]!;
    const [base] = history.bases.get(name)!;
    for (const wrong of [
      { point: newPoint(), fingerprint: base!.fingerprint },
      { point: base!.point, fingerprint: 'another' },
      { point: base!.point, fingerprint: undefined },
    ]) {
      history.bases.set(name, [wrong]);
      const prepared = await history.prepare();
      const tracking = prepared.disks.find((disk) => disk.name === name)?.tracking;
      assert.equal(tracking?.kind, 'compare', JSON.stringify(wrong));
      assert.ok(tracking.kind === 'compare' && tracking.reason.length > 10);
      await prepared.close();
    }
    history.bases.set(name, [base!]);
    await subject.change();
    expectTracking(await history.take(), 'bitmap');
    expectTracking(await other.take(), 'bitmap');
    await expectBitmaps(subject, 2);
  });

  test(`${kind}: two items of one repository take turns, and each finds its changes by bitmap`, async (t) => {
    const subject = await make(t);
    const web = historyOf(subject);
    const copy = web.otherItem();
    for (const [item, tracking, bitmaps] of [
      [web, 'initial', 1],
      [copy, 'initial', 2],
      [web, 'bitmap', 2],
      [copy, 'bitmap', 2],
      [copy, 'bitmap', 2],
      [web, 'bitmap', 2],
    ] as const) {
      expectTracking(await item.take(), tracking);
      await expectBitmaps(subject, bitmaps);
      await subject.change();
    }
    expectTracking(await copy.take({ outcome: 'failed' }), 'bitmap');
    await expectBitmaps(subject, 2);
    await subject.change();
    expectTracking(await web.take(), 'bitmap');
    expectTracking(await copy.take(), 'bitmap');
    await expectBitmaps(subject, 2);

    copy.bases.clear(); // Its points have expired, all of them.
    await subject.change();
    expectTracking(await web.take(), 'bitmap');
    await expectBitmaps(subject, 1);
    expectTracking(await copy.take(), 'initial');
  });

  test(`${kind}: what cannot be backed up is refused, with nothing left`, async (t) => {
    const subject = await make(t);
    const history = historyOf(subject);
    await rejectsWith('DiskNotFound', historyOf(subject, ['no-such-disk']).prepare());
    await rejectsWith('Cancelled', history.prepare(newPoint(), { signal: AbortSignal.abort() }));
    await expectBitmaps(subject, 0);

    const stop = new AbortController();
    const prepared = await history.prepare(newPoint(), { signal: stop.signal });
    stop.abort();
    await rejectsWith('Cancelled', prepared.snapshot());
    await prepared.close();
    await expectBitmaps(subject, 0);
    expectTracking(await history.take(), 'initial');
  });
}

function historyOf(subject: ContractSubject, disks?: readonly string[]): BackupHistory {
  const { hypervisor, vm, scratchDir } = subject;
  return new BackupHistory({
    hypervisor,
    vm,
    scratchDir,
    ...(disks === undefined ? {} : { disks }),
  });
}

export function expectTracking(
  taken: Awaited<ReturnType<BackupHistory['take']>>,
  kind: 'bitmap' | 'compare' | 'initial',
): void {
  for (const { name, tracking } of taken.values()) {
    assert.equal(tracking.kind, kind, `${name}: ${JSON.stringify(tracking)}`);
  }
}

/** Of ours there are so many bitmaps on each disk, and nothing else anywhere. */
export async function expectBitmaps(
  { traces, disks, scratchDir }: Pick<ContractSubject, 'traces' | 'disks' | 'scratchDir'>,
  count: number,
): Promise<void> {
  const { others, bitmaps } = await traces();
  assert.deepEqual(others, []);
  assert.equal(bitmaps.length, count * disks.length, bitmaps.join('\n'));
  assert.deepEqual(await readdir(scratchDir), []);
}

async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => error instanceof HoldfastError && error.code === code);
}
