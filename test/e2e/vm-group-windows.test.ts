/** A group of a Windows VM (windows-vm.ts) and a real Linux guest: each has what its own system can give. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from '../../src/hypervisor/agent/testing/scripted-agent.ts';
import { run, withoutPasswords } from '../cli/holdfast.ts';
import { GroupSite, type GroupTaken } from './group-site.ts';
import { startGuest } from './tiny-guest.ts';
import { assertNothingLeft } from './vm-site.ts';
import { startWindows } from './windows-vm.ts';

withoutPasswords();

await test('M3 a Windows VM and a Linux guest at one instant', async (t) => {
  const windows = await startWindows(t);
  const linux = await startGuest(t);
  const name = linux.runDir.split('/').at(-1)!;
  const vms = new Map([
    [windows.name, windows.uri],
    [name, `qmp:${linux.qmpPath},agent=${linux.agentPath}`],
  ]);
  const site = new GroupSite(windows.folder, vms);
  await site.init();
  const consistencies = ({ members }: GroupTaken): readonly string[] =>
    members.map(({ consistency }) => consistency);
  const freezes = (): readonly string[] =>
    windows.agent.commands.filter((command) => /fsfreeze-(?:freeze|thaw)$/.test(command));

  await t.test('application-consistent through VSS beside file-system-consistent', async () => {
    const taken = await site.backUp();
    assert.deepEqual(consistencies(taken), ['AppConsistent', 'FileSystemConsistent']);
    assert.deepEqual(freezes(), ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']);
    const points = await site.points();
    assert.deepEqual(
      points.map(({ group }) => group),
      [taken.group, taken.group],
    );
    await assertNothingLeft(linux, taken.group.points[1]!.point);
  });

  await t.test(
    'a writer that fails makes the point of Windows a lower one, and no other',
    async () => {
      windows.guest.exits.set(' writers', { code: 0, out: '   Status: [8] Failed\n' });
      const { stdout, stderr, code } = await run(site.command());
      assert.equal(code, 0, stderr);
      const taken = JSON.parse(stdout) as GroupTaken;
      assert.deepEqual(consistencies(taken), ['FileSystemConsistent', 'FileSystemConsistent']);
      assert.match(stderr, /warning: .*writer/i);
      windows.guest.exits.set(' writers', { code: 0, out: '   State: [1] Stable\n' });
    },
  );

  await t.test(
    'writers in a bad state fail the group, which names the VM; the Linux guest is thawed',
    async () => {
      const before = await site.points();
      windows.guest.next.set('guest-fsfreeze-freeze', [
        refusal('prepare failed (error: 80042301)'),
      ]);
      const { code, stdout } = await run(site.command());
      const { error } = JSON.parse(stdout) as { readonly error: Record<string, string> };
      assert.deepEqual([code, error['code']], [1, 'ExtensionFailedVssWriterInBadState']);
      assert.match(error['message']!, /^"windows" of the group: /);
      assert.deepEqual(await site.points(), before);
      await linux.sh('echo alive >/data/alive && sync');
      const taken = await site.backUp();
      assert.deepEqual(consistencies(taken), ['AppConsistent', 'FileSystemConsistent']);
      await assertNothingLeft(linux, taken.group.points[1]!.point);
    },
  );
});
