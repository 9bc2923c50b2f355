/** The guest agent, its file and process commands, and the backup extension, in a real guest. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { isHoldfastError, realClock } from '#base';
import { openSocketChannel } from '../../src/hypervisor/agent/socket-channel.ts';
import { GuestAgent } from '../../src/hypervisor/agent/guest-agent.ts';
import {
  describeExtension,
  ensureExtension,
  uninstallExtension,
} from '../../src/hypervisor/extension/extension.ts';
import { startGuest, type TinyGuest } from './tiny-guest.ts';

const FOLDER = '/var/lib/holdfast/VMSnapshotLinux';
const clock = realClock();

/** The product's agent; the guest's own `sh` needs it closed. */
async function withAgent<T>(guest: TinyGuest, use: (agent: GuestAgent) => Promise<T>): Promise<T> {
  const channel = openSocketChannel({ path: guest.agentPath, clock, random: randomBytes });
  try {
    return await use(new GuestAgent(channel, clock));
  } finally {
    await channel.close();
  }
}

/** Every file of the guest's own file systems, with its owner, mode, size and content. */
async function listing(guest: TinyGuest): Promise<string[]> {
  const text = await guest.sh(
    'find / -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -path /run -prune -o ' +
      '\\( -type f -exec md5sum {} + \\); ' +
      'find / -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -path /run -prune -o -exec stat -c "%n %F %a %u %g" {} +',
  );
  return text.trim().split('\n').toSorted();
}

async function ensured(guest: TinyGuest): Promise<string | undefined> {
  return await withAgent(guest, async (agent) => (await ensureExtension(agent, clock)).change);
}

test('the agent of a real guest', async (t) => {
  const guest = await startGuest(t);

  await t.test('tells its system and its file systems', async () => {
    await withAgent(guest, async (agent) => {
      await agent.ping();
      const os = await agent.osInfo();
      assert.equal(os.family, 'linux');
      assert.equal(os.id, 'tinyguest');
      const fileSystems = await agent.fsInfo();
      assert.deepEqual(
        fileSystems.map(({ mountpoint, type }) => ({ mountpoint, type })),
        [{ mountpoint: '/data', type: 'ext4' }],
      );
    });
  });

  await t.test('runs programs: output, input, environment, exit code, end of time', async () => {
    await withAgent(guest, async (agent) => {
      const exit = await agent.exec({
        path: '/bin/sh',
        args: ['-c', 'cat; echo "$HOLDFAST" >&2; exit 7'],
        env: ['HOLDFAST=naïve'],
        input: Buffer.from([0, 255, 10, 65]),
        timeoutMs: 60_000,
      });
      assert.equal(exit.exitCode, 7);
      assert.deepEqual(exit.stdout, Buffer.from([0, 255, 10, 65]));
      assert.equal(exit.stderr.toString(), 'naïve\n');
      const slow = await agent.exec({
        path: '/bin/sh',
        args: ['-c', 'exec setsid sh -c "sleep 1000 & wait"'],
        timeoutMs: 1000,
      });
      assert.equal(slow.timedOut, true);
      assert.equal(slow.exitCode, undefined);
      const left = await agent.exec({ path: '/bin/pidof', args: ['sleep'], timeoutMs: 60_000 });
      assert.equal(left.stdout.toString(), '');
      const long = await agent.exec({
        path: '/bin/dd',
        args: ['if=/dev/zero', 'bs=1M', 'count=20'],
        timeoutMs: 120_000,
      });
      assert.equal(long.truncated, true);
      assert.equal(long.exitCode, 0);
    });
  });

  await t.test('carries files of any bytes in pieces', async () => {
    await withAgent(guest, async (agent) => {
      const content = randomBytes(200_001);
      await agent.writeFile('/data/bytes', content);
      assert.ok(content.equals(await agent.readFile('/data/bytes', content.length)));
      await agent.writeFile('/data/bytes', Buffer.alloc(0));
      assert.equal((await agent.readFile('/data/bytes', 1)).length, 0);
      await assert.rejects(agent.readFile('/data/none', 1), (error) =>
        isHoldfastError(error, 'AgentFailed'),
      );
      await assert.rejects(agent.readFile('/bin/busybox', 1000), /longer than 1000 bytes/);
    });
    await guest.sh('rm /data/bytes');
  });

  await t.test('freezes and thaws for real: a writer waits and goes on', async () => {
    await withAgent(guest, async (agent) => {
      await agent.exec({
        path: '/bin/sh',
        args: ['-c', 'tg-writer 1000000 /data </dev/null >/dev/null 2>&1 &'],
        timeoutMs: 60_000,
      });
      assert.equal(await agent.freezeStatus(), 'thawed');
      assert.equal(await agent.freeze({ timeoutMs: 60_000 }), 1);
      assert.equal(await agent.freezeStatus(), 'frozen');
      await assert.rejects(
        agent.exec({ path: '/bin/true', timeoutMs: 1000 }),
        (error) => isHoldfastError(error, 'AgentFailed') && /frozen/.test(error.message),
      );
      assert.equal(await agent.thaw(), 1);
      assert.equal(await agent.thaw(), 0);
    });
    const count = async () => Number(await guest.sh('cat /data/w.b'));
    const before = await count();
    while ((await count()) <= before) await clock.sleep(100);
    await guest.sh('kill $(pidof tg-writer); rm /data/w.*');
  });
});

test('the backup extension of a real guest', async (t) => {
  const guest = await startGuest(t);
  const before = await listing(guest);

  await t.test('is installed once, and changes nothing but its own folder', async () => {
    assert.match((await ensured(guest))!, /^installed in \/var\/lib\/holdfast/);
    assert.equal(await ensured(guest), undefined);
    const after = await listing(guest);
    const described = describeExtension('linux').map(({ path }) => path);
    const isOurs = (line: string): boolean =>
      [...described, '/var/lib', '/var/lib/holdfast'].some((path) =>
        line.split(/ +/).includes(path),
      );
    const known = new Set(before);
    const added = after.filter((line) => !known.has(line));
    assert.ok(added.length >= 4);
    assert.deepEqual(
      added.filter((line) => !isOurs(line)),
      [],
    );
    assert.equal(before.filter((line) => !after.includes(line)).length, 0);
    assert.match(
      await guest.sh(`stat -c "%a %u %n" ${FOLDER} ${FOLDER}/*`),
      /^700 0 .*\n700 0 .*\n600 0 .*\n$|^700 0 .*\n600 0 .*\n700 0 .*\n$/,
    );
  });

  for (const [damage, script, change] of [
    ['a changed script', `echo "# x" >>${FOLDER}/vm-snapshot.sh`, /had been changed/],
    ['a missing script', `rm ${FOLDER}/vm-snapshot.sh`, /vm-snapshot.sh was missing/],
    ['a missing state', `rm ${FOLDER}/state.json`, /state.json was missing/],
    ['a damaged state', `echo x >${FOLDER}/state.json`, /state.json was damaged/],
    [
      'an older version',
      `sed -i 's/"version": "[^"]*"/"version": "0.9.1"/' ${FOLDER}/state.json`,
      /updated from 0.9.1/,
    ],
    ['a folder open to others', `chmod 777 ${FOLDER}`, /open to others/],
    ['a script of another owner', `chown 1 ${FOLDER}/vm-snapshot.sh`, /another owner/],
    ['its removal', `rm -r /var/lib/holdfast`, /^installed in/],
  ] as const) {
    await t.test(`repairs ${damage} in the next backup, and says so`, async () => {
      await guest.sh(script);
      assert.match((await ensured(guest))!, change);
      assert.equal(await ensured(guest), undefined);
    });
  }

  await t.test('lies in /run where /var/lib cannot be written', async () => {
    await guest.sh('rm -r /var/lib/holdfast; touch /var/lib/holdfast');
    assert.match((await ensured(guest))!, /in \/run\/holdfast\/VMSnapshotLinux \(\/var\/lib/);
    assert.equal(await ensured(guest), undefined);
    await guest.sh('rm /var/lib/holdfast');
  });

  await t.test('is uninstalled without a trace', async () => {
    await withAgent(guest, async (agent) => {
      await ensureExtension(agent, clock);
      assert.deepEqual(await uninstallExtension(agent), ['/run/holdfast/VMSnapshotLinux']);
      assert.deepEqual(await uninstallExtension(agent), []);
    });
    await guest.sh('rmdir /var/lib');
    assert.deepEqual(await listing(guest), before);
  });
});
