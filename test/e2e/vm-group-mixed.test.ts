/** One instant of VMs of different hypervisors: one of libvirt, one of QEMU by QMP, one that is off in a folder of images. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { succeed, withoutPasswords } from '../cli/holdfast.ts';
import { GroupSite } from './group-site.ts';
import {
  emptyDisk,
  libvirtFolder,
  startLibvirtGuest,
  systemDisk,
  tool,
  URI,
  virsh,
} from './libvirt-guest.ts';
import { Lockstep, portXml } from './lockstep.ts';
import { lockstepGuest, socketIn } from './lockstep-guest.ts';
import { killedAt } from './killed-group.ts';
import { assertNothingLeft } from './vm-site.ts';

withoutPasswords();

await test('a guest of libvirt and one of QEMU that write in lockstep, and images of a third', async (t) => {
  const folder = await libvirtFolder(t);
  const port = join(folder, 'lockstep.sock');
  const domain = await startLibvirtGuest(t, {
    folder,
    disks: [
      await systemDisk(folder),
      await emptyDisk(folder, { name: 'numbers', format: 'qcow2', size: '8M' }),
    ],
    devices: portXml(port),
  });
  const guest = await lockstepGuest(t);
  const images = join(folder, 'images');
  await mkdir(join(images, 'cold'), { recursive: true });
  const cold = randomBytes(100_000);
  await writeFile(join(images, 'cold', 'a.raw'), cold);
  const name = guest.runDir.split('/').at(-1)!;
  const vms = new Map([
    [domain.name, URI],
    [name, `qmp:${guest.qmpPath},agent=${guest.agentPath}`],
    ['cold', `images:${images}`],
  ]);
  const site = new GroupSite(folder, vms);
  await site.init();
  const lockstep = await Lockstep.begin(t, [
    { sh: domain.sh, socketPath: port },
    { sh: async (script) => await guest.sh(script), socketPath: socketIn(guest.runDir) },
  ]);
  let groups = 0;
  const disks = ['vdb', 'vd1'] as const;

  await t.test('every group is of one instant', async () => {
    for (let round = 1; round <= 3; round += 1) {
      await lockstep.more(2);
      const { members, group } = await site.backUp();
      groups += 1;
      assert.deepEqual(
        members.map(({ consistency }) => consistency),
        ['FileSystemConsistent', 'FileSystemConsistent', 'CrashConsistent'],
      );
      for (const { disks: backedUp } of members.slice(0, 2)) {
        for (const { tracking, reason } of backedUp) {
          assert.equal(tracking, round === 1 ? 'initial' : 'bitmap', reason);
        }
      }
      await assertNothingLeft(guest, group.points[1]!.point);
    }
    assert.equal(await site.checkGroups(disks), groups);
    const third = (await site.points()).find(({ item }) => item === 'cold')!;
    const path = join(folder, 'cold.raw');
    await succeed([
      'repo',
      'restore',
      site.repository,
      third.id,
      '--disk',
      `a=${path}`,
      '--no-encryption',
    ]);
    assert.deepEqual(await readFile(path), cold);
  });

  await t.test('one that its owner has paused: the others run on, it stays paused', async () => {
    await virsh('suspend', domain.name);
    const { members } = await site.backUp();
    groups += 1;
    assert.equal(members[0]!.consistency, 'CrashConsistent');
    assert.equal((await virsh('domstate', domain.name)).trim(), 'paused');
    await virsh('resume', domain.name);
    await lockstep.more(2);
    assert.equal(await site.checkGroups(disks), groups);
  });

  for (const stage of ['frozen', 'at-rest', 'second', 'before-commit']) {
    await t.test(`killed: ${stage}`, async () => {
      await killedAt(stage, site);
      await lockstep.more(2);
      assert.equal((await virsh('domstate', domain.name)).trim(), 'running');
      await lockstep.beat();
      assert.equal(await site.checkGroups(disks), groups);
      const { members } = await site.backUp();
      groups += 1;
      for (const { consistency, disks: backedUp } of members.slice(0, 2)) {
        assert.equal(consistency, 'FileSystemConsistent');
        for (const { tracking, reason } of backedUp) assert.equal(tracking, 'bitmap', reason);
      }
      assert.equal(await site.checkGroups(disks), groups);
      const watchdogs = (await tool('ps', '-eo', 'args')).split('\n');
      assert.ok(
        !watchdogs.some((line) => line.includes('holdfast-watchdog') && line.includes(folder)),
      );
    });
  }
});
