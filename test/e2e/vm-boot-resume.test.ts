/**
 * A VM that was booted from a point goes on after its Holdfast was killed: on QEMU, through `holdfast vm boot
 * --resume`, while it was served and while it was moved; its records are all there, and it needs nothing of us.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fail, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { killedAt } from './killed-boot.ts';
import { moreRecords, recordsIn, startWriting } from './records.ts';
import { RestoredGuest } from './restored-guest.ts';
import { backedUp, from, imagesIn, rawCopy, type Source } from './vm-source.ts';

withoutPasswords();

const NOTE = 'holdfast-boot.json';

type Booted = { readonly vm: { readonly name: string }; readonly moveSeconds?: number };

test('a killed boot goes on where it was', async (t) => {
  const source = await backedUp(t, { runsOn: false });

  await t.test(
    'killed while it was moved, it pauses, is moved on, and lacks no record',
    async (tt) => {
      const guest = await RestoredGuest.in(tt, source.folder, 'm');
      const { directory, connection } = guest;
      const as = ['--as', 'm', '--dir', directory, ...connection];
      await killedAt(['vm', 'boot', ...from(source, ...as)], /copied while it runs/);
      await fail(['vm', 'boot', ...from(source, ...as)], { code: 1, says: /BootUnfinished/ });
      const pid = await guest.pid();
      await lookTenTimes(guest, 'm');
      const { stdout } = await succeed([...resuming(source, directory), '--json']);
      const moved = JSON.parse(stdout) as Booted;
      assert.equal(moved.vm.name, 'm');
      assert.ok(moved.moveSeconds! >= 0);
      assert.equal(await guest.pid(), pid);
      assert.ok(
        !(await guest.drivers()).includes('nbd'),
        'nothing is read from the point any more',
      );
      await writeOn(guest);
      const seen = await moreRecords(guest, 5);
      await guest.shutDown();
      assert.ok(seen > source.records);
      await assertMoved(guest, seen);
    },
  );

  await t.test('killed again and again while its guest writes, it lacks no record', async (tt) => {
    const guest = await RestoredGuest.in(tt, source.folder, 'k');
    const { directory, connection } = guest;
    const as = ['--as', 'k', '--dir', directory, ...connection];
    const trial = ['vm', 'boot', ...from(source, ...as, '--trial')];
    await killedAt(trial, /ends the trial/, async () => {
      await writeOn(guest);
      await moreRecords(guest, 5);
    });
    const before = await trialAgain(source, guest);
    assert.ok(before > source.records);
    assert.ok(existsSync(join(directory, NOTE)));
    await guest.kill();
    // Off as after a power failure: it is started, on the same overlays.
    const after = await trialAgain(source, guest);
    assert.ok(after >= before, `${after} of ${before}`);
    await fail(['vm', 'boot', '--discard', '--resume', '--dir', directory], {
      code: 2,
      says: /contradict/,
    });
    await succeed(['vm', 'boot', '--discard', '--dir', directory]);
    assert.equal(await guest.isRunning, false);
    assert.deepEqual(await readdir(directory), []);
    await fail(resuming(source, directory), { code: 1, says: /BootNotFound/ });
  });

  await t.test(
    'its memory is kept, whatever is asked of it after a copy has failed',
    async (tt) => {
      const guest = await RestoredGuest.in(tt, source.folder, 'j');
      const { directory, connection } = guest;
      const as = ['--as', 'j', '--dir', directory, ...connection];
      await killedAt(
        ['vm', 'boot', ...from(source, ...as, '--trial')],
        /ends the trial/,
        async () => {
          await guest.answers();
          await guest.sh('echo kept > /run/memory');
        },
      );
      await failedCopy(guest);
      await lookTenTimes(guest, 'j');
      const backup = ['--repo', source.repository, '--item', 'j', '--no-encryption', ...connection];
      await fail(['vm', 'backup', 'j', ...backup], {
        code: 1,
        says: /not all its disks have been copied.*--resume --dir \S+ --repo REPO.*BootUnfinished/,
      });
      const { stdout } = await succeed(['vm', 'show', 'j', ...connection]);
      assert.match(stdout, /It cannot be backed up now: j was booted from point/);
      await killedAt(resuming(source, directory), /ends the trial/, async () => {
        assert.equal(await guest.sh('cat /run/memory'), 'kept\n');
      });
      await succeed(['vm', 'boot', '--discard', '--dir', directory]);
    },
  );

  await t.test('what is gone, or another repository, is one clear error', async (tt) => {
    const guest = await RestoredGuest.in(tt, source.folder, 'e');
    const { directory, connection } = guest;
    const as = ['--as', 'e', '--dir', directory, ...connection];
    await killedAt(['vm', 'boot', ...from(source, ...as)], /copied while it runs/);
    const other = join(source.folder, 'other');
    await succeed(['repo', 'init', other, '--no-encryption']);
    const ofOther = ['vm', 'boot', '--resume', '--dir', directory, '--repo', other];
    await fail([...ofOther, '--no-encryption'], { code: 1, says: /another repository/ });
    const [overlay] = imagesIn(directory, await readdir(directory));
    await rename(overlay!, `${overlay}.away`);
    await fail(resuming(source, directory), { code: 1, says: /is gone.*DiskNotFound/ });
    await rename(`${overlay}.away`, overlay!);
    const description = join(directory, 'e.qemu.json');
    await rename(description, `${description}.away`);
    await fail(resuming(source, directory), { code: 1, says: /VmNotFound/ });
    await rename(`${description}.away`, description);
    await succeed(['vm', 'boot', '--discard', '--dir', directory]);
    assert.deepEqual(await readdir(directory), []);
  });

  await t.test('what cannot be made here is refused before a byte is written', async () => {
    const folder = join(source.folder, 'nowhere');
    const as = ['--as', 'n', '--dir', folder, '--connect', `qmp:${folder}/qmp.sock`];
    const bridge = ['--network', '52:54:00:11:22:33=nosuchbridge'];
    const says = /no bridge "nosuchbridge".*DefinitionUnsupported/;
    await fail(['vm', 'restore', ...from(source, ...as, ...bridge)], { code: 1, says });
    await fail(['vm', 'boot', ...from(source, ...as, ...bridge)], { code: 1, says });
    const libvirt = ['--connect', `images:${source.folder}`];
    const start = ['--as', 'n', '--start', '--dir', folder, ...libvirt];
    await fail(['vm', 'restore', ...from(source, ...start)], {
      code: 1,
      says: /cannot be started/,
    });
    assert.ok(!existsSync(folder));
    // Something else fails: the folders that were made are gone again.
    await fail(['vm', 'restore', ...from(source, '--disk', 'vdz', '--dir', folder)], {
      code: 1,
      says: /DiskNotFound/,
    });
    assert.ok(!existsSync(folder));
  });
});

async function lookTenTimes(guest: RestoredGuest, name: string): Promise<void> {
  for (let times = 0; times < 10; times += 1) {
    await succeed(['vm', 'list', ...guest.connection]);
    await succeed(['vm', 'show', name, ...guest.connection]);
    assert.ok(await guest.isRunning, 'QEMU lives');
  }
}

/** A copy from the point, which nobody serves, that has ended and is not dismissed: its node lies on nothing. */
async function failedCopy(guest: RestoredGuest): Promise<void> {
  await guest.qmp(async (qmp) => {
    const [block] = (await qmp.execute('query-block')).filter(
      ({ inserted }) => inserted?.ro === false,
    );
    await qmp.execute('block-stream', {
      'job-id': 'holdfast-move-left',
      device: block!.inserted!['node-name']!,
      speed: 0,
      'auto-dismiss': false,
    });
    while ((await qmp.execute('query-jobs'))[0]?.status !== 'concluded') await sleep(100);
  });
}

/** Goes on with a trial, has the guest write on, and kills it. @returns how many records there were. */
async function trialAgain(source: Source, guest: RestoredGuest): Promise<number> {
  let count = 0;
  await killedAt(resuming(source, guest.directory), /ends the trial/, async () => {
    await guest.answers();
    count = Number((await guest.sh('sync; wc -l < /data/records')).trim());
  });
  return count;
}

function resuming({ repository }: Source, directory: string): readonly string[] {
  const repo = ['--repo', repository, '--no-encryption'];
  return ['vm', 'boot', '--resume', '--dir', directory, ...repo];
}

async function writeOn(guest: RestoredGuest): Promise<void> {
  await guest.answers();
  const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
  await startWriting(guest, last);
  await moreRecords(guest, 1);
}

/** Off, with images of its own and nothing of the boot beside them. */
async function assertMoved({ directory }: RestoredGuest, records: number): Promise<void> {
  const names = await readdir(directory);
  assert.ok(!names.includes(NOTE));
  assert.doesNotMatch(await readFile(join(directory, 'm.start.sh'), 'utf8'), /[rw]error/);
  assert.ok(names.every((name) => !name.endsWith('.nbd')));
  const [system] = imagesIn(directory, names).filter((path) => path.includes('osdisk'));
  assert.ok((await recordsIn(await rawCopy(system!))) >= records);
}
