/** Quiescing a real guest: freeze, scripts, watchdogs, and whatever fails of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import type { QuiesceStep } from '../../src/hypervisor/quiesce.ts';
import { clock, isThawed, take } from './quiesced-guest.ts';
import { startGuest, type TinyGuest } from './tiny-guest.ts';

const CONFIGURATION = '/etc/azure/VMSnapshotScriptPluginConfig.json';

function stepOf(steps: readonly QuiesceStep[], name: string): QuiesceStep {
  const step = steps.findLast((candidate) => candidate.name === name);
  assert.ok(step !== undefined, `${name} in ${steps.map((each) => each.name).join(', ')}`);
  return step;
}

/** Writes the guest's scripts and their configuration; both log to /run/order, as QEMU's freeze hook does. */
async function configure(
  guest: TinyGuest,
  fields: Record<string, unknown> = {},
  bodies: { readonly pre?: string; readonly post?: string } = {},
): Promise<void> {
  const value = {
    pluginName: 'ScriptRunner',
    preScriptLocation: '/etc/azure/pre.sh',
    postScriptLocation: '/etc/azure/post.sh',
    preScriptParams: ['one two', "it's"],
    postScriptParams: [],
    ...fields,
  };
  const file = (name: string, body: string) =>
    `rm -f /etc/azure/${name}; cat >/etc/azure/${name} <<'EOS'\n#!/bin/sh\n${body}\nEOS\nchmod 700 /etc/azure/${name}\n`;
  await guest.sh(
    'mkdir -p /etc/azure; rm -f /run/order; printf "#!/bin/sh\\necho hook \\$1 >>/run/order\\n" >/etc/qemu/fsfreeze-hook.d/50-order; chmod 755 /etc/qemu/fsfreeze-hook.d/50-order\n' +
      file('pre.sh', `echo "pre $*" >>/run/order\n${bodies.pre ?? ''}`) +
      file('post.sh', `echo "post $*" >>/run/order\n${bodies.post ?? ''}`) +
      `cat >${CONFIGURATION} <<'EOS'\n${JSON.stringify(value)}\nEOS\nchmod 600 ${CONFIGURATION}`,
  );
}

async function order(guest: TinyGuest): Promise<string[]> {
  return (await guest.sh('cat /run/order 2>/dev/null; true')).trim().split('\n');
}

test('quiescing a real guest', async (t) => {
  const guest = await startGuest(t);

  await t.test('without scripts: frozen in the instant, file-system consistent', async () => {
    const taken = await take(guest, {
      atInstant: async (agent) => assert.equal(await agent.freezeStatus(), 'frozen'),
    });
    assert.equal(taken.consistency, 'FileSystemConsistent');
    assert.ok(taken.frozenMs !== undefined && taken.frozenMs >= 0);
    assert.deepEqual(
      taken.steps.map(({ name, outcome }) => `${name} ${outcome}`),
      [
        'Install extension succeeded',
        'Pre-script skipped',
        'Start watchdog succeeded',
        'Freeze succeeded',
        'Thaw succeeded',
      ],
    );
    assert.deepEqual(taken.warnings, []);
    await isThawed(guest);
  });

  await t.test('scripts that succeed: application-consistent, in their order', async () => {
    await configure(guest);
    const taken = await take(guest);
    assert.equal(taken.consistency, 'AppConsistent');
    assert.deepEqual(await order(guest), ["pre one two it's", 'hook freeze', 'hook thaw', 'post']);
    await isThawed(guest);
  });

  await t.test('a script that leaves a program running is not waited for', async () => {
    await configure(guest, {}, { pre: 'sleep 600 &' });
    assert.equal((await take(guest)).consistency, 'AppConsistent');
    await guest.sh('kill $(pidof sleep)');
  });

  for (const [name, spoil, step, code] of [
    [
      'a pre-script of another user',
      'chown 1 /etc/azure/pre.sh',
      'Pre-script',
      'InsufficientPermissionforPre-Script',
    ],
    [
      'a pre-script that others may read',
      'chmod 744 /etc/azure/pre.sh',
      'Pre-script',
      'InsufficientPermissionforPre-Script',
    ],
    [
      'a post-script with mode 600',
      'chmod 600 /etc/azure/post.sh',
      'Post-script',
      'InsufficientPermissionforPost-Script',
    ],
    ['no pre-script', 'rm /etc/azure/pre.sh', 'Pre-script', 'Pre-ScriptNotFound'],
    ['no post-script', 'rm /etc/azure/post.sh', 'Post-script', 'Post-ScriptNotFound'],
    [
      'a configuration that others may read',
      `chmod 644 ${CONFIGURATION}`,
      'Pre-script',
      'IncorrectJSONConfigFile',
    ],
    [
      'a configuration that is no JSON',
      `echo x >>${CONFIGURATION}`,
      'Pre-script',
      'IncorrectJSONConfigFile',
    ],
    [
      'a pre-script that fails',
      'sed -i "\\$aexit 3" /etc/azure/pre.sh',
      'Pre-script',
      'Pre-ScriptExecutionFailed',
    ],
    [
      'a post-script that fails',
      'sed -i "\\$aexit 3" /etc/azure/post.sh',
      'Post-script',
      'Post-ScriptExecutionFailed',
    ],
  ] as const) {
    await t.test(`${name}: file-system consistent, with Azure's code`, async () => {
      await configure(guest);
      await guest.sh(spoil);
      const taken = await take(guest);
      assert.equal(taken.consistency, 'FileSystemConsistent');
      assert.equal(stepOf(taken.steps, step).code, code);
      assert.deepEqual(taken.warnings.slice(1), []);
      await isThawed(guest);
    });
  }

  await t.test(
    'a script that overruns is killed with all it started, and the post-script runs',
    async () => {
      await configure(guest, { timeoutInSeconds: 2 }, { pre: 'sleep 700 & wait' });
      const taken = await take(guest);
      assert.equal(taken.consistency, 'FileSystemConsistent');
      assert.equal(stepOf(taken.steps, 'Pre-script').code, 'Pre-ScriptTimeout');
      assert.equal(await guest.sh('pidof sleep; true'), '');
      assert.equal((await order(guest)).at(-1), 'post');
    },
  );

  await t.test('a script is tried again as often as configured', async () => {
    const pre = '[ "$(grep -c pre /run/order)" -ge 3 ]';
    await configure(guest, { preScriptNoOfRetries: 2 }, { pre });
    assert.equal((await take(guest)).consistency, 'AppConsistent');
    assert.equal((await order(guest)).filter((line) => line.startsWith('pre')).length, 3);
    await configure(guest, { preScriptNoOfRetries: 1 }, { pre });
    const taken = await take(guest);
    assert.match(stepOf(taken.steps, 'Pre-script').message, /try 2/);
  });

  await t.test('a failure without leave to go on fails the job, the post-script runs', async () => {
    await configure(guest, { continueBackupOnFailure: false }, { pre: 'echo why >&2; exit 4' });
    let instants = 0;
    const failing = take(guest, { diskCount: 2, atInstant: async () => void (instants += 1) });
    await assert.rejects(failing, (error) => {
      assert.ok(isHoldfastError(error, 'Pre-ScriptExecutionFailed'));
      assert.equal(error.retryable, true);
      assert.match(error.message, /ended with 4.*why/);
      return true;
    });
    assert.equal(instants, 0);
    assert.deepEqual(await order(guest), ["pre one two it's", 'post']);
  });

  await t.test(
    'a post-script that fails without leave to go on discards the snapshot',
    async () => {
      await configure(guest, { continueBackupOnFailure: false }, { post: 'exit 5' });
      const seen = { steps: [], discarded: [] as string[] };
      await assert.rejects(take(guest, { diskCount: 2 }, seen), (error) =>
        isHoldfastError(error, 'Post-ScriptExecutionFailed'),
      );
      assert.deepEqual(seen.discarded, ['the snapshot']);
      await isThawed(guest);
    },
  );

  await t.test('a VM with one disk falls back to crash-consistent instead', async () => {
    await configure(guest, { continueBackupOnFailure: false }, { pre: 'exit 4' });
    const taken = await take(guest);
    assert.equal(taken.consistency, 'CrashConsistent');
    assert.deepEqual(await order(guest), ["pre one two it's", 'post']);
  });

  await t.test('without leave to freeze: crash-consistent, scripts run', async () => {
    await configure(guest, { fsFreezeEnabled: false });
    const taken = await take(guest);
    assert.equal(taken.consistency, 'CrashConsistent');
    assert.equal(taken.frozenMs, undefined);
    assert.deepEqual(await order(guest), ["pre one two it's", 'post']);
  });

  await t.test('a snapshot that fails: thawed, post-script, its own error', async () => {
    await configure(guest);
    const failing = take(guest, {
      atInstant: async () => {
        throw new Error('no snapshot');
      },
    });
    await assert.rejects(failing, /no snapshot/);
    assert.deepEqual(await order(guest), ["pre one two it's", 'hook freeze', 'hook thaw', 'post']);
    await isThawed(guest);
  });

  await t.test("a freeze that fails fails the job with the agent's text", async () => {
    await configure(guest);
    await guest.sh('touch /run/fail-freeze');
    await assert.rejects(take(guest), (error) => {
      assert.ok(isHoldfastError(error, 'UserErrorFsFreezeFailed'));
      assert.match(error.message, /Failed to freeze one or more mount-points.*hook has failed/);
      return true;
    });
    assert.equal((await order(guest)).at(-1), 'post');
    await guest.sh('rm /run/fail-freeze');
    await isThawed(guest);
  });

  await t.test(
    'a job cancelled in its pre-script: the script is killed, the post-script runs',
    async () => {
      await configure(guest, { timeoutInSeconds: 600 }, { pre: 'sleep 800' });
      const cancel = new AbortController();
      const failing = take(guest, { signal: cancel.signal });
      setTimeout(() => cancel.abort(), 3000);
      await assert.rejects(failing, (error) => isHoldfastError(error, 'Cancelled'));
      assert.equal((await order(guest)).at(-1), 'post');
      assert.equal(await guest.sh('pidof sleep; true'), '');
    },
  );

  await guest.sh(`rm ${CONFIGURATION}`);
  await t.test('a snapshot that takes too long: Holdfast thaws, crash-consistent', async () => {
    const taken = await take(guest, {
      watchdogSeconds: 6,
      atInstant: async (agent) => {
        while ((await agent.freezeStatus()) === 'frozen') await clock.sleep(100);
      },
    });
    assert.equal(taken.consistency, 'CrashConsistent');
    assert.match(stepOf(taken.steps, 'Frozen snapshot').message, /Holdfast's watchdog/);
    await isThawed(guest);
  });

  await t.test('an agent that hangs: crash-consistent, with the code of Azure', async () => {
    await guest.sh(
      'setsid sh -c "sleep 1; kill -STOP \\$(pidof qemu-ga); sleep 20; kill -CONT \\$(pidof qemu-ga)" </dev/null >/dev/null 2>&1 &',
    );
    await clock.sleep(3000);
    const taken = await take(guest);
    assert.equal(taken.consistency, 'CrashConsistent');
    const contact = stepOf(taken.steps, 'Contact guest agent');
    assert.equal(contact.code, 'UserErrorGuestAgentStatusUnavailable');
    assert.equal(taken.warnings.length, 1);
    assert.equal((await guest.sh('echo back')).trim(), 'back');
  });
});
