/** A group of two domains of libvirt whose owners' scripts run: application-consistent points of one instant. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { run, withoutPasswords } from '../cli/holdfast.ts';
import { GroupSite } from './group-site.ts';
import {
  emptyDisk,
  libvirtFolder,
  startLibvirtGuest,
  systemDisk,
  URI,
  virsh,
  type LibvirtGuest,
} from './libvirt-guest.ts';
import { Lockstep, portXml } from './lockstep.ts';

withoutPasswords();

const PLUGIN = '/etc/azure/VMSnapshotScriptPluginConfig.json';

type Domain = { readonly guest: LibvirtGuest; readonly socketPath: string };

async function startDomain(t: TestContext): Promise<Domain> {
  const folder = await libvirtFolder(t);
  const socketPath = join(folder, 'lockstep.sock');
  const numbers = await emptyDisk(folder, { name: 'numbers', format: 'qcow2', size: '8M' });
  const disks = [await systemDisk(folder), numbers];
  const guest = await startLibvirtGuest(t, { folder, disks, devices: portXml(socketPath) });
  return { guest, socketPath };
}

/** Scripts, and QEMU's freeze hook, that write a line each as they end, with the second. */
async function configure({ guest }: Domain, pre = ''): Promise<void> {
  const value = {
    pluginName: 'ScriptRunner',
    preScriptLocation: '/etc/azure/pre.sh',
    postScriptLocation: '/etc/azure/post.sh',
    preScriptParams: [],
    postScriptParams: [],
    preScriptNoOfRetries: 0,
    continueBackupOnFailure: false,
    timeoutInSeconds: 60,
  };
  const file = (path: string, body: string): string =>
    `rm -f ${path}; cat >${path} <<'EOS'\n#!/bin/sh\n${body}\nEOS\nchmod 700 ${path}\n`;
  const noted = (what: string): string => `echo "${what} $(date +%s)" >>/run/order`;
  await guest.sh(
    'mkdir -p /etc/azure; rm -f /run/order\n' +
      file('/etc/qemu/fsfreeze-hook.d/50-order', noted('$1')) +
      file('/etc/azure/pre.sh', `${pre}\n${noted('pre')}`) +
      file('/etc/azure/post.sh', noted('post')) +
      `cat >${PLUGIN} <<'EOS'\n${JSON.stringify(value)}\nEOS\nchmod 600 ${PLUGIN}`,
  );
}

/** What ran, in its order, and when. */
async function ran({ guest }: Domain): Promise<ReadonlyMap<string, number>> {
  const lines = (await guest.sh('cat /run/order 2>/dev/null; true')).trim().split('\n');
  return new Map(
    lines
      .filter((line) => line !== '')
      .map((line) => {
        const [what, second] = line.split(' ');
        return [what!, Number(second)];
      }),
  );
}

await test('two domains with scripts that write in lockstep', async (t) => {
  const [first, second] = [await startDomain(t), await startDomain(t)];
  const domains = [first, second];
  const names = domains.map(({ guest }) => guest.name);
  const site = new GroupSite(first.guest.folder, new Map(names.map((name) => [name, URI])));
  await site.init();
  const lockstep = await Lockstep.begin(
    t,
    domains.map(({ guest, socketPath }) => ({ sh: guest.sh, socketPath })),
  );
  const disks = ['vdb', 'vdb'] as const;

  await t.test(
    'application-consistent, of one instant; no guest is frozen before all pre-scripts have ended',
    async () => {
      await configure(first);
      await configure(second, 'sleep 6');
      for (const round of [1, 2]) {
        for (const { guest } of domains) await guest.sh('rm -f /run/order');
        await lockstep.more(2);
        const { members } = await site.backUp();
        assert.deepEqual(
          members.map(({ vm, consistency }) => [vm, consistency]),
          names.map((name) => [name, 'AppConsistent']),
        );
        for (const { tracking, reason } of members.flatMap((member) => member.disks)) {
          assert.equal(tracking, round === 1 ? 'initial' : 'bitmap', reason);
        }
        const [one, other] = [await ran(first), await ran(second)];
        for (const order of [one, other]) {
          assert.deepEqual([...order.keys()], ['pre', 'freeze', 'thaw', 'post']);
        }
        // The guests' clocks are of one host, to the second.
        assert.ok(one.get('freeze')! >= other.get('pre')! - 1, JSON.stringify([...one, ...other]));
        assert.ok(one.get('freeze')! - one.get('pre')! >= 4, 'it waited for the slow script');
        assert.equal(await site.checkGroups(disks), round);
      }
    },
  );

  await t.test(
    'a pre-script that fails fails the group, which names its VM; the other’s post-script has run',
    async () => {
      await configure(first);
      await configure(second, 'exit 4');
      const before = await site.points();
      const { code, stdout } = await run(site.command());
      const { error } = JSON.parse(stdout) as { readonly error: Record<string, string> };
      assert.deepEqual([code, error['code']], [1, 'Pre-ScriptExecutionFailed']);
      assert.match(error['message']!, new RegExp(`^"${names[1]}" of the group: `));
      assert.deepEqual(await site.points(), before);
      const order = [...(await ran(first)).keys()];
      assert.equal(order.at(-1), 'post', order.join(' '));
      for (const name of names) assert.equal((await virsh('domstate', name)).trim(), 'running');
      await lockstep.more(2);
      await lockstep.beat();
    },
  );

  await t.test('and the next group is whole again', async () => {
    await configure(second);
    const { members } = await site.backUp();
    for (const { consistency, disks: backedUp } of members) {
      assert.equal(consistency, 'AppConsistent');
      for (const { tracking, reason } of backedUp) assert.equal(tracking, 'bitmap', reason);
    }
    assert.equal(await site.checkGroups(disks), 3);
  });
});
