/** Backups of an image that is off, killed after each step: the next one lacks no change, and cleans up. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backups } from './testing/backups.ts';
import { bitmapsIn, createImage, imageFolder, MIB, run, writeAsVm } from './testing/images.ts';

const CHILD = fileURLToPath(new URL('testing/backup-child.ts', import.meta.url));

/** Runs the next backup in another process, kills that after `step`; the fingerprint it had. */
async function killAfter(
  t: TestContext,
  step: 'prepare' | 'snapshot' | 'release',
  {
    path,
    backups,
    first,
  }: {
    readonly path: string;
    readonly backups: Backups;
    /** The item that `backups` is the other one of. */
    readonly first?: Backups;
  },
): Promise<string> {
  const args = [
    '--disable-warning=ExperimentalWarning',
    CHILD,
    path,
    JSON.stringify(backups.bases),
    step,
    ...(first === undefined ? [] : [JSON.stringify(first.bases)]),
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  assert.ok(line.done !== true, 'the backup failed');
  child.kill('SIGKILL');
  await ended;
  await untilFree(path);
  return JSON.parse(line.value) as string;
}

/** The kernel ends the process that holds the image soon after the one that started it. */
async function untilFree(path: string): Promise<void> {
  for (;;) {
    const refused = await run('qemu-img', 'info', '-f', 'qcow2', path).then(
      async () =>
        await run('qemu-io', '-f', 'qcow2', '-c', 'flush', path).then(
          () => false,
          () => true,
        ),
      () => true,
    );
    if (!refused) return;
    await sleep(5);
  }
}

for (const step of ['prepare', 'snapshot', 'release'] as const) {
  for (const isCommitted of step === 'prepare' ? [false] : [false, true]) {
    const when = isCommitted ? 'after its commit' : 'before its commit';
    // Nobody releases as committed what is not committed.
    if (step === 'release' && !isCommitted) continue;
    test(`a backup killed after ${step}, ${when}, costs the next one no change`, async (t) => {
      const path = await createImage(join(await imageFolder(t), 'disk.qcow2'), 16 * MIB);
      const backups = new Backups(path);
      await backups.take(t);
      await writeAsVm(path, 'write 1M 16k');
      const fingerprint = await killAfter(t, step, { path, backups });
      if (isCommitted) backups.bases.unshift({ point: backups.point, fingerprint });
      backups.forget();
      await writeAsVm(path, 'write 2M 16k');
      const { disk, dirty } = await backups.take(t);
      assert.deepEqual(disk.tracking, { kind: 'bitmap', base: backups.bases[1]!.point });
      const changed = dirty!.map(([offset]) => offset! / MIB);
      assert.deepEqual(changed, isCommitted ? [2] : [1, 2]);
      assert.deepEqual(Object.values(await bitmapsIn(path)), ['auto']);
    });
  }
}

test('a killed backup of one item costs another item of the repository no bitmap, and reads no more', async (t) => {
  const path = await createImage(join(await imageFolder(t), 'disk.qcow2'), 16 * MIB);
  const web = new Backups(path);
  const copy = web.otherItem();
  await web.take(t);
  await writeAsVm(path, 'write 1M 16k');
  await copy.take(t);
  assert.equal(Object.keys(await bitmapsIn(path)).length, 2);
  await writeAsVm(path, 'write 2M 16k');
  await killAfter(t, 'snapshot', { path, backups: copy, first: web });
  copy.forget();
  await writeAsVm(path, 'write 3M 16k');

  const changed = async (item: Backups): Promise<number[]> => {
    const { disk, dirty } = await item.take(t);
    assert.equal(disk.tracking.kind, 'bitmap');
    assert.deepEqual(Object.values(await bitmapsIn(path)), ['auto', 'auto']);
    return dirty!.map(([offset]) => offset! / MIB);
  };
  assert.deepEqual(await changed(web), [1, 2, 3]);
  assert.deepEqual(await changed(copy), [2, 3]);
  assert.deepEqual(await changed(web), []);
});

test('killed at any step of its own again, the next backup still lacks nothing', async (t) => {
  const path = await createImage(join(await imageFolder(t), 'disk.qcow2'), 16 * MIB);
  const backups = new Backups(path);
  await backups.take(t);
  for (const [at, step] of (['snapshot', 'prepare', 'snapshot'] as const).entries()) {
    await writeAsVm(path, `write ${at + 1}M 16k`);
    await killAfter(t, step, { path, backups });
  }
  backups.forget();
  const { dirty } = await backups.take(t);
  assert.deepEqual(
    dirty!.map(([offset]) => offset! / MIB),
    [1, 2, 3],
  );
  assert.deepEqual(Object.values(await bitmapsIn(path)), ['auto']);
});
