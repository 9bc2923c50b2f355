/** The socket channel against an agent that answers as the test says. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError, realClock } from '#base';
import { openSocketChannel } from './socket-channel.ts';
import { ScriptedAgent, refusal, type Script } from './testing/scripted-agent.ts';

async function scripted(t: TestContext, script: Script) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-agent-'));
  const path = join(folder, 'qga.sock');
  const agent = await ScriptedAgent.start(path, script);
  const clock = new FakeClock();
  const channel = openSocketChannel({ path, clock, random: randomBytes });
  t.after(async () => {
    await channel.close();
    await agent.stop();
    await rm(folder, { recursive: true });
  });
  return { agent, clock, channel, path };
}

/** Lets the socket's events happen until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const echo: Script = ({ command, args }) => ({ return: { command, ...args } });

test('a command is answered after one sync, the next ones without', async (t) => {
  const { agent, channel } = await scripted(t, echo);
  assert.deepEqual(await channel.execute('guest-ping', { timeoutMs: 1000 }), {
    command: 'guest-ping',
  });
  assert.deepEqual(
    await channel.execute('guest-x', { arguments: { text: 'naïve 文件' }, timeoutMs: 1000 }),
    { command: 'guest-x', text: 'naïve 文件' },
  );
  assert.deepEqual(
    agent.calls.map(({ command }) => command),
    ['guest-sync-delimited', 'guest-ping', 'guest-x'],
  );
});

test('replies that earlier clients left are dropped, whole or cut', async (t) => {
  const { agent, channel } = await scripted(t, ({ command }) => ({ return: command }));
  const first = channel.execute('guest-ping', { timeoutMs: 1000 });
  await until(() => agent.connectionCount === 1);
  agent.leaveBehind('{"return": {}}\n{"return": 17}\n"return": "cut"}\n');
  agent.leaveBehind(Buffer.concat([Buffer.of(0xff), Buffer.from('{"return": 12345}\n')]));
  assert.equal(await first, 'guest-ping');
  assert.equal(await channel.execute('guest-info', { timeoutMs: 1000 }), 'guest-info');
});

test('an agent that refuses gives its class and text', async (t) => {
  const { channel } = await scripted(t, () => refusal('Command is disabled', 'CommandNotFound'));
  await assert.rejects(channel.execute('guest-x', { timeoutMs: 1000 }), (error) => {
    assert.ok(isHoldfastError(error, 'AgentFailed'));
    assert.deepEqual(error.details, {
      command: 'guest-x',
      class: 'CommandNotFound',
      text: 'Command is disabled',
    });
    return true;
  });
});

test('after a command without answer the next one syncs anew and drops the late reply', async (t) => {
  let late: ((answer: { return: unknown }) => void) | undefined;
  const { agent, clock, channel } = await scripted(t, ({ command }) =>
    command === 'guest-slow'
      ? new Promise((resolve) => {
          late = resolve;
        })
      : { return: command },
  );
  const slow = channel.execute('guest-slow', { timeoutMs: 5000 });
  const settled = assert.rejects(slow, (error) => {
    assert.ok(isHoldfastError(error, 'AgentUnavailable'));
    assert.match(error.message, /no answer to guest-slow in 5000 ms/);
    return true;
  });
  await until(() => agent.commands.includes('guest-slow'));
  clock.advance(5000);
  await settled;
  const next = channel.execute('guest-ping', { timeoutMs: 5000 });
  late!({ return: 'late' });
  assert.equal(await next, 'guest-ping');
  assert.equal(agent.connectionCount, 1);
  const ids = agent.calls
    .filter(({ command }) => command.includes('sync'))
    .map(({ args }) => args['id']);
  assert.equal(new Set(ids).size, 2);
});

test('a channel that another client holds is unavailable, and no command runs later', async (t) => {
  const { agent, clock, channel, path } = await scripted(t, echo);
  const holder = connect(path);
  await until(() => agent.connectionCount === 1);
  const waiting = channel.execute('guest-exec', { timeoutMs: 3000 });
  const settled = assert.rejects(waiting, (error) => {
    assert.ok(isHoldfastError(error, 'AgentUnavailable'));
    assert.match(error.message, /another client holds its channel/);
    return true;
  });
  await until(() => agent.connectionCount === 2);
  clock.advance(3000);
  await settled;
  holder.destroy();
  assert.deepEqual(await channel.execute('guest-ping', { timeoutMs: 3000 }), {
    command: 'guest-ping',
  });
  assert.deepEqual(agent.commands, ['guest-ping']);
});

test('a lost connection fails its command and the next one connects again', async (t) => {
  const { agent, channel } = await scripted(t, ({ command }) =>
    command === 'guest-lost' ? 'disconnect' : { return: command },
  );
  await assert.rejects(channel.execute('guest-lost', { timeoutMs: 1000 }), (error) =>
    isHoldfastError(error, 'AgentUnavailable'),
  );
  assert.equal(await channel.execute('guest-ping', { timeoutMs: 1000 }), 'guest-ping');
  assert.equal(agent.connectionCount, 2);
});

test('commands given at once run one after the other', async (t) => {
  let running = 0;
  const { channel } = await scripted(t, async ({ args }) => {
    running += 1;
    assert.equal(running, 1);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return { return: args['n'] };
  });
  const numbers = [1, 2, 3, 4, 5];
  const answers = await Promise.all(
    numbers.map((n) => channel.execute('guest-x', { arguments: { n }, timeoutMs: 1000 })),
  );
  assert.deepEqual(answers, numbers);
});

test('a socket that is not there, or that nobody serves, is unavailable', async (t) => {
  const { agent, path } = await scripted(t, echo);
  const absent = openSocketChannel({ path: `${path}-no`, clock: realClock(), random: randomBytes });
  await assert.rejects(absent.execute('guest-ping', { timeoutMs: 1000 }), (error) => {
    assert.ok(isHoldfastError(error, 'AgentUnavailable'));
    assert.equal(error.retryable, true);
    return true;
  });
  assert.equal(agent.connectionCount, 0);
});

test('a closed channel fails what runs and what comes, and closes twice', async (t) => {
  const { agent, channel } = await scripted(t, () => 'silence');
  const running = channel.execute('guest-ping', { timeoutMs: 1000 });
  const settled = assert.rejects(running, (error) => isHoldfastError(error, 'AgentUnavailable'));
  await until(() => agent.commands.length === 1);
  await channel.close();
  await settled;
  await channel.close();
  await assert.rejects(channel.execute('guest-ping', { timeoutMs: 1000 }), (error) =>
    isHoldfastError(error, 'AgentUnavailable'),
  );
});
