/**
 * Several VMs at one instant: two real guests of QEMU that write in lockstep, all the time. No point of the second has
 * a write whose cause the point of the first lacks; killed at any stage, no guest stays frozen or stopped, and there is
 * never half a group.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { GroupSite } from './group-site.ts';
import { killedAt } from './killed-group.ts';
import { Lockstep } from './lockstep.ts';
import { slowGroup } from './slow-group.ts';
import { lockstepGuest, socketIn } from './lockstep-guest.ts';
import { guestFolder } from './tiny-guest.ts';
import { assertNothingLeft } from './vm-site.ts';

withoutPasswords();

const STAGES = ['frozen', 'at-rest', 'first', 'second', 'before-commit', 'after-commit'];
const ROUNDS = 4;

await test('two guests of QEMU that write in lockstep', async (t) => {
  const guests = [await lockstepGuest(t), await lockstepGuest(t)];
  const folder = await guestFolder(t);
  const names = guests.map(({ runDir }) => runDir.split('/').at(-1)!);
  const uris = guests.map(({ qmpPath, agentPath }) => `qmp:${qmpPath},agent=${agentPath}`);
  const site = new GroupSite(folder, new Map(names.map((name, at) => [name, uris[at]!])));
  await site.init();
  const lockstep = await Lockstep.begin(
    t,
    guests.map((guest) => ({
      sh: async (script) => await guest.sh(script),
      socketPath: socketIn(guest.runDir),
    })),
  );
  let groups = 0;

  await t.test('every group is of one instant, and its points name each other', async () => {
    for (let round = 1; round <= ROUNDS; round += 1) {
      await lockstep.more(2);
      const { members, group } = await site.backUp();
      groups += 1;
      assert.deepEqual(
        members.map(({ vm, item, pointId }) => ({ vm, item, pointId })),
        names.map((vm, at) => ({ vm, item: vm, pointId: group.points[at]!.point })),
      );
      for (const { consistency, disks } of members) {
        assert.equal(consistency, 'FileSystemConsistent');
        for (const { tracking, reason } of disks) {
          assert.equal(tracking, round === 1 ? 'initial' : 'bitmap', reason);
        }
      }
      for (const [at, guest] of guests.entries()) {
        await assertNothingLeft(guest, group.points[at]!.point);
      }
    }
    assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
  });

  await t.test('without asking the guests it is still one instant', async () => {
    const { members } = await site.backUp('--no-quiesce');
    groups += 1;
    for (const { consistency } of members) assert.equal(consistency, 'CrashConsistent');
    assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
  });

  await t.test('a VM that is late with its snapshot: the other stands still for it', async () => {
    await slowGroup(site, { stands: true });
    groups += 1;
    assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
  });

  for (const stage of STAGES) {
    await t.test(`killed: ${stage}`, async () => {
      await killedAt(stage, site);
      await lockstep.more(2);
      // Nobody stays frozen: the guest's own watchdog thaws it. Its agent learns that of the next backup.
      await lockstep.beat();
      for (const guest of guests) {
        const { running } = (await guest.qmp('query-status')) as { readonly running: boolean };
        assert.ok(running);
      }
      groups += stage === 'after-commit' ? 1 : 0;
      assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
      const { members, group } = await site.backUp();
      groups += 1;
      for (const { consistency, disks } of members) {
        assert.equal(consistency, 'FileSystemConsistent');
        for (const { tracking, reason } of disks) assert.equal(tracking, 'bitmap', reason);
      }
      for (const [at, guest] of guests.entries()) {
        await assertNothingLeft(guest, group.points[at]!.point);
      }
      assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
    });
  }

  await t.test('one VM that cannot be backed up: it is named, and no point appears', async () => {
    const before = await site.points();
    await guests[1]!.qmp('nbd-server-start', {
      addr: { type: 'unix', data: { path: join(guests[1]!.runDir, 'nbd.sock') } },
    });
    const { code, stdout } = await run(site.command());
    const { error } = JSON.parse(stdout) as { readonly error: Record<string, string> };
    assert.deepEqual([code, error['code']], [1, 'VmBusy']);
    assert.match(
      error['message']!,
      new RegExp(`^"${names[1]}" of the group: .*no point of the group was made`),
    );
    await guests[1]!.qmp('nbd-server-stop');
    assert.deepEqual(await site.points(), before);
    await lockstep.more(2);
    const { members, group } = await site.backUp();
    groups += 1;
    for (const { disks } of members)
      for (const disk of disks) assert.equal(disk.tracking, 'bitmap');
    for (const [at, guest] of guests.entries()) {
      await assertNothingLeft(guest, group.points[at]!.point);
    }
    assert.equal(await site.checkGroups(['vd1', 'vd1']), groups);
  });

  await t.test('a point of a group restores and expires alone', async () => {
    const [first] = await site.points();
    await succeed(['repo', 'expire', site.repository, first!.id, '--no-encryption']);
    const left = await site.points();
    assert.ok(!left.some(({ id }) => id === first!.id));
    assert.equal(left.filter(({ group }) => group!.id === first!.group!.id).length, 1);
    await succeed(['repo', 'verify', site.repository, '--read-data', '--no-encryption']);
    await succeed(['repo', 'rebuild-index', site.repository, '--no-encryption']);
    assert.deepEqual(
      (await site.points()).map(({ id }) => id),
      left.map(({ id }) => id),
    );
  });

  await t.test(
    'if none stood still, the late one would hold effects without their causes',
    async () => {
      const [first, second] = await slowGroup(site, { stands: false });
      const [a, b] = [await site.number(first!, 'vd1'), await site.number(second!, 'vd1')];
      assert.ok(b > a, `${a} in the first, ${b} in the second`);
    },
  );
});
