/** What guests tell of their load, on model guests behind a real socket. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError } from '#base';
import { openSocketChannel } from '../agent/socket-channel.ts';
import { refusal, ScriptedAgent } from '../agent/testing/scripted-agent.ts';
import { driven } from '../consistency/testing/driven.ts';
import { ModelGuest } from '../consistency/testing/model-guest.ts';
import { guestLoad } from './guest-load.ts';
import { memoryShare, timesOfStat } from './linux-load.ts';
import type { GuestLoad } from './load-shares.ts';
import { loadOfReadings } from './windows-load.ts';

async function bench(t: TestContext, family: 'linux' | 'windows') {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-load-'));
  const guest = new ModelGuest(family);
  const agent = await ScriptedAgent.start(join(folder, 'qga.sock'), guest.script);
  const clock = new FakeClock();
  const channel = openSocketChannel({ path: agent.path, clock, random: randomBytes });
  t.after(async () => {
    await channel.close();
    await agent.stop();
    await rm(folder, { recursive: true });
  });
  const look = async (signal?: AbortSignal): Promise<GuestLoad> =>
    await driven(clock, guestLoad(channel, { clock, signal }));
  return { guest, agent, look };
}

const MEMINFO = 'MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     250 kB\n';
const stat = (user: number, idle: number, iowait = 0): string =>
  `cpu  ${user} 0 0 ${idle} ${iowait} 0 0 0 0 0\ncpu0 9 9 9 9\nintr 1 2 3\n`;

test('a Linux agent that has guest-get-cpustats tells what all CPUs did in half a second', async (t) => {
  const { guest, agent, look } = await bench(t, 'linux');
  guest.files.set('/proc/meminfo', Buffer.from(MEMINFO));
  const cpu = (idle: number, more: object) => ({ type: 'linux', cpu: 0, user: 0, idle, ...more });
  const stats = [
    [cpu(1000, { system: 0 }), cpu(1000, { iowait: 0 })],
    [cpu(1000, { system: 500 }), cpu(1250, { iowait: 150, steal: 100 })],
  ];
  guest.next.set(
    'guest-get-cpustats',
    stats.map((cpus) => ({ return: cpus })),
  );
  const { cpu: busy, memory } = await look();
  assert.equal(busy, 0.6);
  assert.equal(memory, 0.75);
  assert.ok(!agent.calls.some(({ args }) => args['path'] === '/proc/stat'));
});

test('an older one has its files read, twice for the CPUs', async (t) => {
  const { guest, agent, look } = await bench(t, 'linux');
  guest.files.set('/proc/meminfo', Buffer.from(MEMINFO));
  guest.files.set('/proc/stat', Buffer.from(stat(100, 100)));
  const looking = look();
  while (!agent.commands.includes('guest-file-close')) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  guest.files.set('/proc/stat', Buffer.from(stat(190, 105, 5)));
  assert.deepEqual(await looking, { cpu: 0.9, memory: 0.75 });
});

test('what an agent may not tell is not known, and no error: files, programs, a frozen guest', async (t) => {
  const linux = await bench(t, 'linux');
  assert.deepEqual(await linux.look(), { cpu: undefined, memory: undefined });
  const windows = await bench(t, 'windows');
  windows.guest.next.set('guest-exec', [refusal('Command guest-exec has been disabled')]);
  assert.deepEqual(await windows.look(), { cpu: undefined, memory: undefined });
  windows.guest.exits.set('-EncodedCommand', { code: 1, err: 'no such class' });
  assert.deepEqual(await windows.look(), { cpu: undefined, memory: undefined });
  linux.guest.agentFrozen = true;
  await assert.rejects(linux.look(), (error) => isHoldfastError(error, 'AgentFailed'));
});

test('an agent that is silent says so, and a look can be cancelled', async (t) => {
  const { agent, guest, look } = await bench(t, 'linux');
  guest.files.set('/proc/stat', Buffer.from(stat(1, 1)));
  const cancelled = AbortSignal.abort(new Error('enough'));
  await assert.rejects(look(cancelled), (error) => isHoldfastError(error, 'Cancelled'));
  agent.hung = true;
  await assert.rejects(look(), (error) => isHoldfastError(error, 'AgentUnavailable'));
});

test('Windows tells by PowerShell, which prints what it counted', async (t) => {
  const { guest, look } = await bench(t, 'windows');
  const out = '1000000 133000000000000000 1500000 133000000005000000 2 4000000 1000000\r\n';
  guest.exits.set('-EncodedCommand', { code: 0, out });
  assert.deepEqual(await look(), { cpu: 0.95, memory: 0.75 });
  const encoded = guest.programs.at(-1)!.split(' ').at(-1)!;
  assert.match(Buffer.from(encoded, 'base64').toString('utf16le'), /Win32_OperatingSystem/);
});

test('texts that are none of these tell nothing', () => {
  assert.equal(timesOfStat('cpu0 1 2 3 4\n'), undefined);
  assert.equal(memoryShare('MemTotal: 1000 kB\nMemFree: 500 kB\n'), undefined);
  for (const text of ['', '1 2 3', 'a b c d e f g', '1 1 1 1 1 0 0']) {
    assert.deepEqual(loadOfReadings(text), { cpu: undefined, memory: undefined });
  }
});
