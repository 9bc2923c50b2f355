/** A VM that a backup has stand still for its instant goes on at once if that backup is killed there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackupHistory, newPoint } from './backup-history.ts';
import { expectBitmaps } from './hypervisor.contract.ts';
import type { KilledBackup } from './killed-backup.ts';
import { connectTo, qemuSubject } from './qemu-subject.ts';

/** Between a backup and QEMU: keeps the first `cont` to itself. @returns its path, and when it has come. */
async function holdContinue(
  t: TestContext,
  qmpPath: string,
): Promise<{ readonly path: string; readonly held: Promise<void> }> {
  const path = `${qmpPath}-relay`;
  const { promise: held, resolve: holds } = Promise.withResolvers<void>();
  let isHeld = false;
  const server = createServer((client) => {
    const qemu = createConnection({ path: qmpPath });
    qemu.pipe(client);
    for (const socket of [client, qemu]) {
      socket.on('error', () => {}); // The killed backup's.
      socket.on('close', () => {
        client.destroy();
        qemu.destroy();
      });
    }
    createInterface({ input: client }).on('line', (line) => {
      if (!isHeld && line.includes('"execute":"cont"')) {
        isHeld = true;
        holds();
        return;
      }
      qemu.write(`${line}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return { path, held };
}

for (const mechanism of ['filter', 'push'] as const) {
  test(`by ${mechanism}: killed while the VM stands still, it goes on by itself, and the next backup is right`, async (t) => {
    const subject = await qemuSubject(t, { mechanism });
    const { guest, vm, scratchDir, hypervisor } = subject;
    const before = new BackupHistory(subject);
    await before.take();
    await subject.change();
    await hypervisor.close();
    const relay = await holdContinue(t, guest.qmpPath);
    const work: KilledBackup = {
      uri: `qmp:${relay.path}`,
      vm,
      scratchDir,
      repositoryId: before.repositoryId,
      point: newPoint(),
      bases: [...before.bases],
      otherBases: [],
      mechanism,
      until: 'snapshot',
    };
    const script = join(import.meta.dirname, 'killed-backup.ts');
    const child = spawn(process.execPath, [script, JSON.stringify(work)], { stdio: 'ignore' });
    const isRunning = async (): Promise<boolean> =>
      ((await guest.qmp('query-status')) as { readonly running: boolean }).running;
    await relay.held;
    while (await isRunning()) await sleep(20);
    child.kill('SIGKILL');
    await once(child, 'close');
    while (!(await isRunning())) await sleep(20);
    assert.equal((await guest.sh('echo alive')).trim(), 'alive');
    const stopped = (await subject.traces()).others.filter((name) => name === 'holdfast-stopped');
    assert.deepEqual(stopped, []);

    const history = before.through(await connectTo(t, guest, mechanism));
    await subject.change();
    await history.take();
    await expectBitmaps(subject, 1);
  });
}

test('what guards a VM that stands still ends with the instant', async (t) => {
  const subject = await qemuSubject(t);
  await new BackupHistory(subject).take();
  const guards = async (): Promise<readonly string[]> => {
    const ps = spawn('ps', ['-eo', 'args'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = await Array.fromAsync(createInterface({ input: ps.stdout }));
    return lines.filter(
      (line) => line.includes('stand-still-process') && line.includes(subject.guest.qmpPath),
    );
  };
  while ((await guards()).length > 0) await sleep(20);
});
