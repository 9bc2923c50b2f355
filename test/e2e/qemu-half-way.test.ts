/**
 * A backup that fails or dies at every command that it gives QEMU, one after the other: a relay between the two
 * refuses the n-th command, or cuts the connection in its place, as the death of Holdfast does. QEMU runs
 * without a guest; its disks are written through their devices' backends.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isHoldfastError, realClock } from '#base';
import { connectQemu } from '../../src/hypervisor/qemu/connect-qemu.ts';
import { QmpClient } from '../../src/hypervisor/qmp/qmp-client.ts';
import { BackupHistory } from './backup-history.ts';
import { tracesIn } from './qemu-subject.ts';
import { guestFolder, type TinyGuest } from './tiny-guest.ts';

type Fault = 'refuse' | 'cut';
type Mechanism = 'filter' | 'job' | 'push';

const QUESTION = /^(query-|qom-get|qom-list|x-debug-|qmp_capabilities)/;

type Relay = {
  readonly path: string;
  /** The command after so many more that do something gets the fault; those after it are let through. */
  arm(commands: number, fault: Fault): void;
  /** What got the fault; undefined: nothing yet. */
  hit(): string | undefined;
};

async function startRelay(t: TestContext, runDir: string): Promise<Relay> {
  const path = join(runDir, 'relay.sock');
  let left = Infinity;
  let fault: Fault = 'refuse';
  let hit: string | undefined;
  const server = createServer((client) => {
    const qemu = createConnection({ path: join(runDir, 'qmp.sock') });
    qemu.pipe(client);
    for (const socket of [client, qemu]) {
      socket.on('error', () => {}); // Cutting is what this is for.
      socket.on('close', () => {
        client.destroy();
        qemu.destroy();
      });
    }
    createInterface({ input: client }).on('line', (line) => {
      const { execute, id } = JSON.parse(line) as { readonly execute: string; readonly id: number };
      // To fail at a question is to fail before the next deed.
      const asks = QUESTION.test(execute) || line.includes('holdfast-probe');
      if (!asks) left -= 1;
      if (left >= 0 || hit !== undefined || asks) {
        if (!qemu.destroyed) qemu.write(`${line}\n`);
        return;
      }
      hit = execute;
      if (fault === 'cut') qemu.destroy();
      else
        client.write(`${JSON.stringify({ error: { class: 'GenericError', desc: 'no' }, id })}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return {
    path,
    arm: (commands, what) => {
      left = commands;
      fault = what;
      hit = undefined;
    },
    hit: () => hit,
  };
}

type Machine = Pick<TinyGuest, 'qmp'> & { readonly runDir: string };

const MACHINE = [
  '-nodefaults',
  '-display',
  'none',
  '-accel',
  'tcg',
  '-machine',
  'q35',
  '-name',
  'machine',
];

async function startMachine(t: TestContext): Promise<Machine> {
  const runDir = await guestFolder(t);
  const images = [join(runDir, 'a.qcow2'), join(runDir, 'b.raw')];
  for (const [at, format] of ['qcow2', 'raw'].entries()) {
    await promisify(execFile)('qemu-img', ['create', '-q', '-f', format, images[at]!, '4M']);
  }
  const disk = (name: string, format: string, image: string): string[] => [
    '-blockdev',
    `driver=${format},node-name=${name}-image,file.driver=file,file.filename=${image}`,
    '-device',
    `virtio-blk-pci,id=${name},drive=${name}-image`,
  ];
  const monitor = (name: string): string[] => [
    '-qmp',
    `unix:${join(runDir, name)},server=on,wait=off`,
  ];
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...MACHINE,
      ...disk('a', 'qcow2', images[0]!),
      ...disk('b', 'raw', images[1]!),
      ...monitor('qmp.sock'),
      ...monitor('mon.sock'),
    ],
    { stdio: 'ignore' },
  );
  const ended = once(qemu, 'close');
  t.after(async () => {
    qemu.kill('SIGKILL');
    await ended;
  });
  while (!existsSync(join(runDir, 'mon.sock')) && qemu.exitCode === null) await sleep(5);
  const own = await QmpClient.connect({ path: join(runDir, 'mon.sock'), clock: realClock() });
  t.after(async () => await own.close());
  const qmp = async (command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> =>
    // The product's client knows the product's commands only.
    await own.execute(command as 'transaction', args as never);
  return { runDir, qmp };
}

async function write(machine: Machine, number: number): Promise<void> {
  for (const device of ['a', 'b']) {
    const path = `/machine/peripheral/${device}/virtio-backend`;
    const place = (number * 7) % 64;
    const line = `qemu-io -d ${path} "write -P ${(number % 250) + 1} ${place * 64}k 4k"`;
    const answer = await machine.qmp('human-monitor-command', { 'command-line': line });
    assert.doesNotMatch(String(answer), /rror|denied/);
  }
}

async function expectClean(machine: Machine, when: string): Promise<void> {
  const { others, bitmaps } = await tracesIn(machine);
  assert.deepEqual(others, [], when);
  assert.equal(bitmaps.length, 2, `${when}: ${bitmaps.join()}`);
  const { status } = (await machine.qmp('query-status')) as { readonly status: string };
  assert.equal(status, 'running', when);
  assert.deepEqual(await readdir(join(machine.runDir, 'scratch')), [], when);
}

async function connect(relay: Relay, mechanism: Mechanism): ReturnType<typeof connectQemu> {
  const uri = `qmp:${relay.path}`;
  return await connectQemu({ uri, clock: realClock(), random: randomBytes, mechanism });
}

for (const mechanism of ['filter', 'job', 'push'] as const) {
  test(`by ${mechanism}: whichever command is refused, nothing is left and no write is lost`, async (t) => {
    const machine = await startMachine(t);
    const relay = await startRelay(t, machine.runDir);
    const scratchDir = join(machine.runDir, 'scratch');
    await mkdir(scratchDir);
    const hypervisor = await connect(relay, mechanism);
    t.after(async () => await hypervisor.close());
    const history = new BackupHistory({ hypervisor, vm: 'machine', scratchDir });
    await history.take();
    const refused = new Set<string>();
    for (let commands = 0; ; commands += 1) {
      await write(machine, commands);
      relay.arm(commands, 'refuse');
      const error = await history
        .take({ during: async () => await write(machine, commands + 31) })
        .then(
          () => undefined,
          (failure: unknown) => failure,
        );
      const command = relay.hit();
      if (command === undefined) break;
      refused.add(command);
      relay.arm(Infinity, 'refuse');
      const when = `${command} refused, command ${commands}`;
      if (error !== undefined) assert.ok(isHoldfastError(error), when);
      // A refused end leaves something, and says so; the next backup removes it. Of a push both bitmaps count on
      // until a commit.
      if (mechanism === 'push') await history.take();
      const next = await history.prepare();
      await next.close();
      await expectClean(machine, when);
      for (const { tracking, name } of next.disks)
        assert.equal(tracking.kind, 'bitmap', `${when}: ${name}`);
    }
    const own = mechanism === 'push' ? ['job-dismiss'] : ['nbd-server-start', 'block-export-add'];
    for (const command of ['blockdev-add', 'transaction', ...own]) {
      assert.ok(refused.has(command), command);
    }
    await expectClean(machine, 'at the end');
  });

  test(`by ${mechanism}: wherever Holdfast dies, the next backup removes it and no write is lost`, async (t) => {
    const machine = await startMachine(t);
    const relay = await startRelay(t, machine.runDir);
    const scratchDir = join(machine.runDir, 'scratch');
    await mkdir(scratchDir);
    let hypervisor = await connect(relay, mechanism);
    t.after(async () => await hypervisor.close());
    let history = new BackupHistory({ hypervisor, vm: 'machine', scratchDir });
    await history.take();
    const cut = new Set<string>();
    for (let commands = 0; ; commands += 1) {
      await write(machine, commands);
      relay.arm(commands, 'cut');
      await history
        .take({ during: async () => await write(machine, commands + 31) })
        .catch((error: unknown) => assert.ok(isHoldfastError(error), String(error)));
      const command = relay.hit();
      if (command === undefined) break;
      cut.add(command);
      relay.arm(Infinity, 'cut');
      await hypervisor.close();
      hypervisor = await connect(relay, mechanism);
      history = history.through(hypervisor);
      await write(machine, commands + 17);
      const when = `cut at ${command}, command ${commands}`;
      const next = await history.take();
      await expectClean(machine, when);
      for (const { tracking, name } of next.values()) {
        assert.equal(tracking.kind, 'bitmap', `${when}: ${name} ${JSON.stringify(tracking)}`);
      }
    }
    if (mechanism === 'filter')
      for (const command of ['stop', 'qom-set', 'cont']) assert.ok(cut.has(command));
  });
}
