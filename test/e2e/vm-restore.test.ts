/** A VM of QEMU is brought back through `holdfast vm restore`, as a user does it: real guests from first to last. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { fail, json, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { assertCleanFileSystem, recordsIn } from './records.ts';
import { RestoredGuest } from './restored-guest.ts';
import {
  backedUp,
  from,
  MAC,
  pointsOf,
  rawCopy,
  UUID,
  type Shown,
  type Source,
} from './vm-source.ts';

withoutPasswords();

type Restored = {
  readonly safetyPoint?: string;
  readonly oldImages?: readonly string[];
  readonly disks: readonly {
    readonly name: string;
    readonly path: string;
    readonly written: number;
  }[];
};

test('a VM is restored beside the one that it is a copy of', async (t) => {
  const source = await backedUp(t, { runsOn: true });
  const restored = await RestoredGuest.in(t, source.folder, 'r');
  const { directory, connection } = restored;
  const show = async (): Promise<Shown> => await json<Shown>(['vm', 'show', 'web2', ...connection]);

  await t.test('started, it answers its agent with every record, as another VM', async () => {
    const as = ['--as', 'web2', '--start', '--dir', directory, ...connection];
    const { stdout, stderr } = await succeed(['vm', 'restore', ...from(source, ...as), '--json']);
    assert.deepEqual((JSON.parse(stdout) as { vm: unknown }).vm, { name: 'web2', isStarted: true });
    assert.match(stderr, /hostfwd=.* left out/);
    await restored.answers();
    const count = Number(await restored.sh('wc -l < /data/records'));
    assert.ok(count >= source.records, `${count} of ${source.records}`);
    const vm = await show();
    assert.equal(vm.state, 'running');
    assert.notEqual(vm.uuid, UUID);
    assert.match(vm.uuid ?? '', /^[0-9a-f]{8}-/);
    assert.notEqual(vm.networkCards[0]?.mac, MAC);
    assert.deepEqual(
      vm.disks.map(({ name }) => name),
      ['vd0', 'vd1'],
    );
    assert.ok(vm.disks.every(({ location }) => location.startsWith(directory)));
  });

  await t.test('while it runs its disks are not replaced, and its name is taken', async () => {
    const replace = ['--replace', '--dir', join(directory, 'again'), ...connection];
    const itself = ['web2', '--repo', source.repository, '--no-encryption'];
    await backUp(source, connection);
    await fail(['vm', 'restore', ...itself, ...replace], { code: 2, says: /needs --point/ });
    const [point] = await pointsOf(source, 'web2');
    const named = ['vm', 'restore', ...itself, ...replace, '--point', point!];
    const says =
      /shut it down.*repo restore REPO \d+ --disk vd0=\/\S+ .*--overwrite.*VmNotShutDown/;
    await fail(named, { code: 1, says });
    const as = ['--as', 'web2', '--dir', directory, ...connection];
    await fail(['vm', 'restore', ...from(source, ...as)], { code: 1, says: /VmExists/ });
  });

  await t.test('off, it is put back to a point, in new images and in its own', async () => {
    await restored.sh('echo later > /data/later; sync');
    await restored.shutDown();
    assert.equal((await show()).state, 'off');
    const itself = ['web2', '--repo', source.repository, '--no-encryption', ...connection];
    const point = (await pointsOf(source, 'web2'))[0]!;
    const replaced = await json<Restored>([
      'vm',
      'restore',
      ...itself,
      '--point',
      point,
      '--replace',
      '--dir',
      join(directory, 'n'),
    ]);
    assert.equal(replaced.oldImages?.length, 2);
    assert.ok(replaced.oldImages.every((path) => existsSync(path)));
    const used = (await show()).disks.map(({ location }) => location);
    assert.deepEqual(
      used,
      replaced.disks.map(({ path }) => path),
    );
    await promisify(execFile)(join(directory, 'web2.start.sh'));
    await restored.answers();
    assert.equal(await restored.sh('ls /data/later 2>/dev/null | wc -l'), '0\n');
    await restored.sh('echo more > /data/more; sync');
    await restored.shutDown();
    const again = await json<Restored>([
      'vm',
      'restore',
      ...itself,
      '--point',
      point,
      '--replace',
      '--in-place',
    ]);
    assert.deepEqual(
      again.disks.map(({ path }) => path),
      used,
    );
    assert.ok(again.disks[0]!.written < 64 << 20, 'only where they differ');
    const raw = await rawCopy(used[0]!);
    await assertCleanFileSystem(raw);
    assert.ok((await recordsIn(raw)) >= source.records);
    const safe = await json<{ readonly disks: readonly unknown[]; readonly safetyBefore: string }>([
      'repo',
      'show',
      source.repository,
      again.safetyPoint!,
      '--no-encryption',
    ]);
    assert.equal(safe.disks.length, 2);
    assert.equal(safe.safetyBefore, point);
  });

  await t.test('only its disks, or some of them, are restored', async () => {
    const folder = join(source.folder, 'images');
    const { disks } = await json<Restored>(['vm', 'restore', ...from(source, '--dir', folder)]);
    assert.deepEqual(
      disks.map(({ name }) => name),
      ['vd0', 'vd1'],
    );
    const one = join(source.folder, 'one');
    const system = ['--disk', 'vd0', '--dir', one];
    await succeed(['vm', 'restore', ...from(source, ...system)]);
    assert.equal((await readdir(one)).length, 1);
    const raw = await rawCopy(disks[0]!.path);
    assert.ok((await recordsIn(raw)) >= source.records);
  });
});

async function backUp(source: Source, connection: readonly string[]): Promise<void> {
  await succeed([
    'vm',
    'backup',
    'web2',
    '--repo',
    source.repository,
    '--no-encryption',
    ...connection,
  ]);
}
