/** A VM of QEMU is booted from a point through `holdfast vm boot`, and moved or tried: real guests throughout. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { bootVm, connectHypervisor, findPoint, withRepository } from '#backup';
import { realClock } from '#base';
import { ended, json, start, withoutPasswords, type Run } from '../cli/holdfast.ts';
import { moreRecords, recordsIn, startWriting, writtenSoFar } from './records.ts';
import { RestoredGuest } from './restored-guest.ts';
import { backedUp, from, imagesIn, rawCopy, type Shown } from './vm-source.ts';

withoutPasswords();

/** Started, and told to stop as soon as it has said `until`. */
async function interrupted(args: readonly string[], until: RegExp): Promise<Run> {
  const child = start(args);
  let said = '';
  const listen = (text: Buffer): void => {
    said += text.toString();
    if (!until.test(said)) return;
    child.stderr.off('data', listen);
    child.kill('SIGINT');
  };
  child.stderr.on('data', listen);
  child.stdin.end();
  return await ended(child);
}

test('a VM boots from a point and is moved to its own disks while it writes', async (t) => {
  const source = await backedUp(t, { runsOn: false });

  await t.test('moved, it runs on without Holdfast, and lacks no record', async (tt) => {
    const booted = await RestoredGuest.in(tt, source.folder, 'b');
    const { directory, connection } = booted;
    const child = start([
      'vm',
      'boot',
      ...from(source),
      '--as',
      'b',
      '--dir',
      directory,
      ...connection,
      '--json',
    ]);
    child.stdin.end();
    const over = ended(child);
    await startWritingOn(booted);
    const { code, stdout, stderr } = await over;
    assert.equal(code, 0, stderr);
    assert.ok((JSON.parse(stdout) as { seconds: number }).seconds > 0);
    assert.ok(!(await booted.drivers()).includes('nbd'), 'nothing is read from the point any more');
    const seen = await moreRecords(booted, 10);
    await booted.shutDown();
    const [system] = imagesIn(directory, await readdir(directory)).filter((path) =>
      path.includes('osdisk'),
    );
    const info = await promisify(execFile)('qemu-img', ['info', '--output=json', system!]);
    assert.equal(
      (JSON.parse(info.stdout) as Record<string, unknown>)['backing-filename'],
      undefined,
    );
    const raw = await rawCopy(system!);
    assert.ok((await recordsIn(raw)) >= seen);
  });

  await t.test('moved while it writes, it lacks no record, though its power is cut', async (tt) => {
    const booted = await RestoredGuest.in(tt, source.folder, 'm');
    const clock = realClock();
    const options = { clock, random: randomBytes };
    const hypervisor = await connectHypervisor(booted.connection[1]!, options);
    const caller = {
      ...options,
      version: 'test',
      warn: () => {},
      process: { host: 'test', pid: process.pid, command: 'test' },
    };
    const request = {
      location: source.repository,
      access: 'read' as const,
      waitMs: 10_000,
      caller,
    };
    const { path, seen } = await withRepository(request, async (repository) => {
      const vm = await bootVm({
        repository,
        point: await findPoint(repository, 'latest', 'web'),
        directory: booted.directory,
        newVm: { name: 'm', identity: 'new', networks: 'none', hypervisor },
        isTrial: false,
        clock,
        warn: (message) => assert.fail(message),
      });
      await startWritingOn(booted);
      const before = await writtenSoFar(booted);
      const told: number[] = [];
      await vm.move(({ doneBytes }) => told.push(doneBytes));
      await vm.close();
      assert.ok(told.length > 0, 'its progress is told');
      assert.ok((await writtenSoFar(booted)) > before, 'it wrote meanwhile');
      assert.ok(!(await booted.drivers()).includes('nbd'));
      const after = await moreRecords(booted, 5);
      await vm.powerOff();
      return { path: vm.images[0]!.path, seen: after };
    });
    await hypervisor.close();
    assert.equal(await booted.isRunning, false);
    assert.ok((await recordsIn(await rawCopy(path))) >= seen);
  });

  await t.test('a trial ends with Ctrl-C, and nothing of it is left', async (tt) => {
    const trial = await RestoredGuest.in(tt, source.folder, 't');
    const { directory, connection } = trial;
    const args = [
      'vm',
      'boot',
      ...from(source),
      '--as',
      'trial',
      '--trial',
      '--dir',
      directory,
      ...connection,
    ];
    const child = start(args);
    child.stdin.end();
    const over = ended(child);
    await trial.answers();
    child.kill('SIGINT');
    const { code, stderr } = await over;
    assert.ok(code === 0 || code === 130, stderr);
    assert.match(stderr, /was powered off, and removed with what it wrote in /);
    assert.equal(await trial.isRunning, false);
    assert.deepEqual(await readdir(directory), []);
  });

  await t.test('Ctrl-C while it is moved: it is off, and its overlays are kept', async (tt) => {
    const moved = await RestoredGuest.in(tt, source.folder, 'c');
    const { directory, connection } = moved;
    const args = ['vm', 'boot', ...from(source), '--as', 'c', '--dir', directory, ...connection];
    const { code, stderr } = await interrupted(args, /copied while it runs/);
    assert.equal(code, 130, stderr);
    const resume = `holdfast vm boot --resume --dir ${directory} --repo ${source.repository}`;
    assert.ok(stderr.includes('cancelled: c is off') && stderr.includes(resume), stderr);
    assert.equal(await moved.isRunning, false);
    assert.equal(imagesIn(directory, await readdir(directory)).length, 2);
    const { state } = await json<Shown>(['vm', 'show', 'c', ...connection]);
    assert.equal(state, 'off');
  });
});

/** The restored guest has the records of the old one, and writes on after them. */
async function startWritingOn(guest: RestoredGuest): Promise<void> {
  await guest.answers();
  const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
  await startWriting(guest, last);
  await moreRecords(guest, 1);
}
