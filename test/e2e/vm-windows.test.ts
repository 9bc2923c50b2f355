/**
 * M3: a running Windows VM through `holdfast vm`. QEMU and its disks are real; the guest, which cannot run
 * here, is a model that speaks the agent's protocol on the agent's socket.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { refusal, ScriptedAgent } from '../../src/hypervisor/agent/testing/scripted-agent.ts';
import { ModelGuest } from '../../src/hypervisor/consistency/testing/model-guest.ts';
import { run, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { guestFolder } from './tiny-guest.ts';

withoutPasswords();

type Taken = {
  readonly consistency: string;
  readonly frozenMs?: number;
  readonly steps: readonly { readonly name: string; readonly outcome: string }[];
};

type WindowsVm = {
  readonly guest: ModelGuest;
  readonly agent: ScriptedAgent;
  /** The arguments of a backup of it. */
  readonly command: readonly string[];
};

/** QEMU without an operating system: its state is running all the same. */
async function startWindows(t: TestContext): Promise<WindowsVm> {
  const folder = await guestFolder(t);
  const [disk, qmp, repository] = ['disk.qcow2', 'qmp.sock', 'repo'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '64M']);
  await promisify(execFile)('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 4M', disk]);
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      '-accel',
      'tcg',
      '-machine',
      'q35',
      '-m',
      '64',
      '-display',
      'none',
      '-nic',
      'none',
      '-name',
      'windows',
      '-qmp',
      `unix:${qmp},server=on,wait=off`,
      '-blockdev',
      `qcow2,node-name=d0,file.driver=file,file.filename=${disk}`,
      '-device',
      'virtio-blk-pci,drive=d0,id=vd0',
    ],
    { stdio: 'ignore' },
  );
  const agentPath = join(folder, 'qga.sock');
  const guest = new ModelGuest('windows');
  guest.exits.set(' writers', { code: 0, out: "Writer name: 'Registry'\n   State: [1] Stable\n" });
  const agent = await ScriptedAgent.start(agentPath, guest.script);
  t.after(async () => {
    await agent.stop();
    qemu.kill('SIGKILL');
    if (qemu.exitCode === null && qemu.signalCode === null) await once(qemu, 'exit');
  });
  while (!existsSync(qmp)) await sleep(20);
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const command = [
    'vm',
    'backup',
    'windows',
    '--connect',
    `qmp:${qmp},agent=${agentPath}`,
    '--repo',
    repository,
    '--no-encryption',
    '--json',
  ];
  return { guest, agent, command };
}

async function take(vm: WindowsVm): Promise<Taken> {
  return JSON.parse((await succeed(vm.command)).stdout) as Taken;
}

test('M3 Windows: application-consistent through VSS, full by default, copy where the registry says so', async (t) => {
  const vm = await startWindows(t);
  const full = await take(vm);
  assert.equal(full.consistency, 'AppConsistent');
  assert.ok(full.frozenMs !== undefined);
  const order = vm.agent.commands.filter((name) => /fsfreeze-(?:freeze|thaw)$/.test(name));
  assert.deepEqual(order, ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']);
  assert.ok(!vm.guest.programs.some((words) => words.endsWith(' copy')));

  vm.guest.exits.set(' mode', { code: 0, out: '\r\n    USEVSSCOPYBACKUP    REG_SZ    TRUE\r\n' });
  assert.equal((await take(vm)).consistency, 'AppConsistent');
  const modes = vm.guest.programs.map((words) => words.split(' ').at(-1)!);
  assert.deepEqual(
    modes.filter((mode) => mode === 'copy' || mode === 'full'),
    ['copy', 'full'],
  );
});

test('M2 M3 the extension of a Windows guest is VMSnapshot', async (t) => {
  const vm = await startWindows(t);
  await take(vm);
  assert.ok(
    [...vm.guest.files.keys()].some((path) => path.includes('\\VMSnapshot\\')),
    [...vm.guest.files.keys()].join(', '),
  );
});

test('M3 Windows: where VSS or a writer fails the point is file-system-consistent, with a warning', async (t) => {
  const vm = await startWindows(t);
  vm.guest.exits.set(' writers', { code: 0, out: '   Status: [8] Failed\n' });
  const { stdout, stderr, code } = await run(vm.command);
  assert.equal(code, 0, stderr);
  assert.equal((JSON.parse(stdout) as Taken).consistency, 'FileSystemConsistent');
  assert.match(stderr, /warning: .*writer/i);

  vm.guest.next.set('guest-fsfreeze-freeze', [refusal('failed to add C:\\ to snapshot set')]);
  const refused = await run(vm.command);
  assert.equal((JSON.parse(refused.stdout) as Taken).consistency, 'FileSystemConsistent');
  assert.match(refused.stderr, /warning: .*snapshot set/);
});

test('M3 Windows: writers in a bad state fail the job with the code of Azure, and no point appears', async (t) => {
  const vm = await startWindows(t);
  vm.guest.next.set('guest-fsfreeze-freeze', [refusal('prepare failed (error: 80042301)')]);
  const { code, stderr } = await run(vm.command);
  assert.equal(code, 1);
  assert.match(stderr, /\[ExtensionFailedVssWriterInBadState\]/);
  assert.equal((await take(vm)).consistency, 'AppConsistent', 'the next is a first copy');
});
