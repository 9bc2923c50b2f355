/** The decision table, on model guests behind a real socket, with time that runs as the test says. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError } from '#base';
import { openSocketChannel } from '../agent/socket-channel.ts';
import { ScriptedAgent, refusal, type Answer } from '../agent/testing/scripted-agent.ts';
import { CONFIGURATION_PATH } from './script-configuration.ts';
import { contactGuest } from './guest-contact.ts';
import { quiesced } from './quiesced.ts';
import type { QuiesceOptions } from './quiesce-run.ts';
import { driven } from './testing/driven.ts';
import { ModelGuest } from './testing/model-guest.ts';

const DISK = { name: 'vda', sizeBytes: 1, format: 'raw', location: '/x' } as const;

async function bench(t: TestContext, family: 'linux' | 'windows') {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-quiesce-'));
  const guest = new ModelGuest(family);
  const agent = await ScriptedAgent.start(join(folder, 'qga.sock'), guest.script);
  const clock = new FakeClock();
  const channel = openSocketChannel({ path: agent.path, clock, random: randomBytes });
  const warnings: string[] = [];
  t.after(async () => {
    await channel.close();
    await agent.stop();
    await rm(folder, { recursive: true });
  });
  const options: QuiesceOptions<string> = {
    vm: { name: 'web', state: 'running', disks: [DISK, DISK] },
    channel,
    clock,
    warn: (message) => warnings.push(message),
    discard: async () => undefined,
  };
  const take = async (atInstant: () => Promise<string> = async () => 'it', more = {}) =>
    await driven(
      clock,
      quiesced({ ...options, ...more }, atInstant).then(async (taken) => {
        await taken.ended;
        return taken;
      }),
    );
  return { guest, agent, clock, channel, options, warnings, take };
}

async function sleepIn(clock: FakeClock, durationMs: number): Promise<string> {
  await clock.sleep(durationMs);
  return 'late';
}

const times = (count: number, answer: Answer): Answer[] =>
  Array.from({ length: count }, () => answer);

test('a VM that is off, or paused, is not asked: crash-consistent, no warning', async (t) => {
  const { agent, take, warnings, options } = await bench(t, 'linux');
  for (const state of ['off', 'paused'] as const) {
    const { result, quiesce } = await take(undefined, { vm: { ...options.vm, state } });
    assert.equal(result, 'it');
    assert.equal(quiesce.consistency, 'CrashConsistent');
  }
  assert.equal(agent.connectionCount, 0);
  assert.deepEqual(warnings, []);
});

test('no channel, or an agent that hangs: crash-consistent with the code of Azure and a warning', async (t) => {
  const { agent, take, warnings } = await bench(t, 'linux');
  agent.hung = true;
  for (const more of [{ channel: undefined }, {}]) {
    const { quiesce } = await take(undefined, more);
    assert.equal(quiesce.consistency, 'CrashConsistent');
    assert.equal(quiesce.steps[0]!.code, 'UserErrorGuestAgentStatusUnavailable');
    assert.equal(quiesce.guestOs, undefined);
  }
  assert.equal(warnings.length, 2);
});

test('Linux: frozen in the instant only, and timed from reply to reply', async (t) => {
  const { guest, take } = await bench(t, 'linux');
  const { quiesce } = await take(async () => {
    assert.equal(guest.frozen, 2);
    return 'it';
  });
  assert.equal(guest.frozen, 0);
  assert.equal(quiesce.consistency, 'FileSystemConsistent');
  assert.ok(quiesce.frozenMs !== undefined);
  assert.deepEqual([quiesce.guestOs?.family, quiesce.guestOs?.id], ['linux', 'debian']);
});

test('an agent that may run no commands: nothing is frozen without a watchdog in the guest', async (t) => {
  const { guest, agent, take } = await bench(t, 'linux');
  const blocked = refusal('Command guest-exec has been disabled', 'CommandNotFound');
  guest.next.set('guest-exec', times(10, blocked));
  const { quiesce } = await take();
  assert.equal(quiesce.consistency, 'CrashConsistent');
  assert.equal(quiesce.steps.at(-1)!.code, 'ExtensionOperationFailedForManagedDisks');
  assert.ok(!agent.commands.includes('guest-fsfreeze-freeze'));
});

test('a first look changes nothing in the guest; what it found whole is not looked at again', async (t) => {
  const { guest, agent, clock, channel, take } = await bench(t, 'linux');
  const first = contactGuest(channel, clock);
  assert.equal((await driven(clock, first.found)).extension, undefined);
  assert.equal(guest.files.size, 0);
  assert.deepEqual(guest.programs, []);
  const { quiesce } = await take(undefined, { contact: first });
  assert.match(quiesce.steps[0]!.message, /VMSnapshotLinux .*: installed/);

  const second = contactGuest(channel, clock);
  const { extension } = await driven(clock, second.found);
  assert.match(extension!.scriptPath, /vm-snapshot\.sh$/);
  const before = agent.commands.length;
  const again = await take(undefined, { contact: second });
  assert.match(again.quiesce.steps[0]!.message, /is installed/);
  assert.equal(again.quiesce.consistency, 'FileSystemConsistent');
  const asked = agent.commands.slice(before);
  for (const command of ['guest-ping', 'guest-file-open']) assert.ok(!asked.includes(command));
});

test('an agent that is silent at the first look: crash-consistent, told as ever', async (t) => {
  const { agent, clock, channel, take, warnings } = await bench(t, 'linux');
  agent.hung = true;
  const contact = contactGuest(channel, clock);
  clock.advance(4000); // The repository is opened meanwhile.
  const { quiesce } = await take(undefined, { contact });
  assert.ok(quiesce.steps[0]!.durationMs >= 10_000, 'since it was asked');
  assert.equal(quiesce.consistency, 'CrashConsistent');
  assert.equal(quiesce.steps[0]!.code, 'UserErrorGuestAgentStatusUnavailable');
  assert.equal(warnings.length, 1);
});

test('nobody waits for the end of the watchdog in the guest; that it failed is told as a step', async (t) => {
  const { guest, agent, clock, options } = await bench(t, 'linux');
  const taken = await driven(
    clock,
    quiesced(options, async () => {
      guest.next.set('guest-exec', [refusal('no more processes')]);
      return 'it';
    }),
  );
  assert.equal(taken.result, 'it');
  assert.equal(taken.quiesce.consistency, 'FileSystemConsistent');
  assert.equal(taken.quiesce.steps.at(-1)!.name, 'Thaw');
  await driven(clock, taken.ended);
  const last = taken.quiesce.steps.at(-1)!;
  assert.equal(last.name, 'Cancel watchdog');
  assert.equal(last.code, 'ExtensionOperationFailedForManagedDisks');
  assert.equal(guest.frozen, 0);
  assert.equal(agent.commands.at(-1), 'guest-exec');
});

test('a watchdog that does not start: nothing is frozen', async (t) => {
  const { guest, agent, take } = await bench(t, 'linux');
  guest.exits.set(' watch 30', { code: 3, err: 'no way to thaw in the guest' });
  const { quiesce } = await take();
  assert.equal(quiesce.consistency, 'CrashConsistent');
  assert.match(quiesce.steps.at(-1)!.message, /no way to thaw/);
  assert.ok(!agent.commands.includes('guest-fsfreeze-freeze'));
});

test('a thaw that is not answered is sent until it is', async (t) => {
  const { guest, take } = await bench(t, 'linux');
  guest.next.set('guest-fsfreeze-thaw', ['silence', 'disconnect', refusal('busy')]);
  const { quiesce } = await take();
  assert.equal(guest.frozen, 0);
  assert.equal(quiesce.consistency, 'FileSystemConsistent');
});

test("a thaw that is never confirmed is reported after the time of the guest's watchdog", async (t) => {
  const { guest, clock, take, warnings } = await bench(t, 'linux');
  guest.next.set('guest-fsfreeze-thaw', times(100, 'silence'));
  const begunMs = clock.monotonicMs();
  const { quiesce } = await take();
  assert.ok(clock.monotonicMs() - begunMs >= 30_000);
  const thaw = quiesce.steps.find(({ name }) => name === 'Thaw')!;
  assert.equal(thaw.outcome, 'failed');
  assert.ok(warnings.some((warning) => warning.includes('make sure that the guest can write')));
});

test('somebody thawed before the end of the instant: only crash-consistent', async (t) => {
  const { guest, take } = await bench(t, 'linux');
  const { quiesce } = await take(async () => {
    guest.frozen = 0;
    return 'it';
  });
  assert.equal(quiesce.consistency, 'CrashConsistent');
  assert.match(quiesce.steps.at(-1)!.message, /0 of 2 file systems/);
});

test("the host's watchdog thaws while the instant lasts", async (t) => {
  const { guest, clock, take } = await bench(t, 'linux');
  const { result, quiesce } = await take(async () => {
    await sleepIn(clock, 25_000);
    assert.equal(guest.frozen, 0);
    return 'late';
  });
  assert.equal(result, 'late');
  assert.equal(quiesce.consistency, 'CrashConsistent');
});

test('a freeze without answer: thawed, then crash-consistent', async (t) => {
  const { guest, take } = await bench(t, 'linux');
  guest.next.set('guest-fsfreeze-freeze', ['silence']);
  const { quiesce } = await take(async () => {
    assert.equal(guest.frozen, 0);
    return 'it';
  });
  assert.equal(quiesce.consistency, 'CrashConsistent');
  const freeze = quiesce.steps.find(({ name }) => name === 'Freeze')!;
  assert.equal(freeze.code, 'GuestAgentSnapshotTaskStatusError');
});

test("a freeze that is refused fails the job with the agent's text", async (t) => {
  const { guest, take } = await bench(t, 'linux');
  guest.next.set('guest-fsfreeze-freeze', [refusal('failed to freeze /data: Input/output error')]);
  await assert.rejects(take(), (error) => {
    assert.ok(isHoldfastError(error, 'UserErrorFsFreezeFailed'));
    assert.match(error.message, /failed to freeze \/data: Input\/output error/);
    return true;
  });
});

test('a guest left frozen is thawed, once whoever may be at work had his time', async (t) => {
  const { guest, clock, take } = await bench(t, 'linux');
  guest.agentFrozen = true;
  const begunMs = clock.monotonicMs();
  const { quiesce } = await take();
  assert.ok(clock.monotonicMs() - begunMs >= 30_000);
  assert.equal(quiesce.consistency, 'FileSystemConsistent');
  assert.match(quiesce.steps[0]!.message, /left frozen/);
});

test('a post-script that may not fail the job silently: the snapshot is discarded', async (t) => {
  const { guest, take } = await bench(t, 'linux');
  const fields = { postScriptLocation: '/post', continueBackupOnFailure: false };
  guest.files.set(CONFIGURATION_PATH, Buffer.from(JSON.stringify(fields)));
  guest.modes.set(CONFIGURATION_PATH, '-rw------- 1 0');
  guest.files.set('/post', Buffer.from(''));
  guest.exits.set('script /post', { code: 9, out: 'no' });
  const discarded: string[] = [];
  const discard = async (result: string) => void discarded.push(result);
  await assert.rejects(take(undefined, { discard }), (error) =>
    isHoldfastError(error, 'Post-ScriptExecutionFailed'),
  );
  assert.deepEqual(discarded, ['it']);
});

test('a cancelled job is not begun', async (t) => {
  const { agent, take } = await bench(t, 'linux');
  await assert.rejects(take(undefined, { signal: AbortSignal.abort() }), (error) =>
    isHoldfastError(error, 'Cancelled'),
  );
  assert.equal(agent.connectionCount, 0);
});

test('a job cancelled while the guest is frozen: thawed at once, while the instant still ends', async (t) => {
  const { guest, clock, take } = await bench(t, 'linux');
  const cancel = new AbortController();
  const { quiesce } = await take(
    async () => {
      cancel.abort();
      await sleepIn(clock, 2000);
      assert.equal(guest.frozen, 0);
      return 'it';
    },
    { signal: cancel.signal },
  );
  assert.equal(quiesce.consistency, 'CrashConsistent');
  assert.match(quiesce.steps.at(-1)!.message, /cancelled/);
});

test('Windows: VSS with all writers well is application-consistent, full by default', async (t) => {
  const { guest, take } = await bench(t, 'windows');
  guest.exits.set(' writers', { code: 0, out: "Writer name: 'Registry'\n   State: [1] Stable\n" });
  const { quiesce } = await take();
  assert.equal(quiesce.consistency, 'AppConsistent');
  assert.match(quiesce.steps[0]!.message, /VMSnapshot 1/);
  assert.ok(!guest.programs.some((words) => words.endsWith(' copy')));
});

test('Windows: USEVSSCOPYBACKUP makes copy backups, for the freeze only', async (t) => {
  const { guest, take } = await bench(t, 'windows');
  guest.exits.set(' mode', { code: 0, out: '\r\n    USEVSSCOPYBACKUP    REG_SZ    TRUE\r\n\r\n' });
  assert.equal((await take()).quiesce.consistency, 'AppConsistent');
  const modes = guest.programs.map((words) => words.split(' ').at(-1)!);
  assert.deepEqual(
    modes.filter((mode) => ['copy', 'full'].includes(mode)),
    ['copy', 'full'],
  );
});

test('Windows: a writer that failed, or a VSS that refuses: file-system consistent with a warning', async (t) => {
  const { guest, take, warnings } = await bench(t, 'windows');
  guest.exits.set(' writers', { code: 0, out: '   Status: [8] Fehlgeschlagen\n' });
  assert.equal((await take()).quiesce.consistency, 'FileSystemConsistent');
  guest.next.set('guest-fsfreeze-freeze', [refusal('failed to add C:\\ to snapshot set')]);
  assert.equal((await take()).quiesce.consistency, 'FileSystemConsistent');
  assert.equal(warnings.length, 2);
});

test('Windows: writers or the VSS service in a bad state fail the job', async (t) => {
  const { guest, take } = await bench(t, 'windows');
  for (const [text, code] of [
    ['prepare failed (error: 80042301)', 'ExtensionFailedVssWriterInBadState'],
    ["couldn't start VSS (error: 80070422)", 'ExtensionFailedVssServiceInBadState'],
  ] as const) {
    guest.next.set('guest-fsfreeze-freeze', [refusal(text)]);
    await assert.rejects(take(), (error) => isHoldfastError(error, code) && error.retryable);
  }
});
