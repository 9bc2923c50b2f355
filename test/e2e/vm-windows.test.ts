/**
 * M3: a running Windows VM through `holdfast vm`. QEMU and its disks are real; the guest, which cannot run
 * here, is a model that speaks the agent's protocol on the agent's socket.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { refusal } from '../../src/hypervisor/agent/testing/scripted-agent.ts';
import { ended, run, start, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { startWindows, type WindowsVm } from './windows-vm.ts';

withoutPasswords();

type Taken = {
  readonly consistency: string;
  readonly frozenMs?: number;
  readonly steps: readonly { readonly name: string; readonly outcome: string }[];
};

/** With the arguments of a backup of it. */
async function windows(
  t: TestContext,
): Promise<WindowsVm & { readonly command: readonly string[] }> {
  const vm = await startWindows(t);
  const repository = join(vm.folder, 'repo');
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const to = ['--connect', vm.uri, '--repo', repository, '--no-encryption', '--json'];
  return { ...vm, command: ['vm', 'backup', vm.name, ...to] };
}

async function take(vm: { readonly command: readonly string[] }): Promise<Taken> {
  return JSON.parse((await succeed(vm.command)).stdout) as Taken;
}

test('M3 Windows: application-consistent through VSS, full by default, copy where the registry says so', async (t) => {
  const vm = await windows(t);
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
  const vm = await windows(t);
  await take(vm);
  assert.ok(
    [...vm.guest.files.keys()].some((path) => path.includes('\\VMSnapshot\\')),
    [...vm.guest.files.keys()].join(', '),
  );
});

test('M3 Windows: where VSS or a writer fails the point is file-system-consistent, with a warning', async (t) => {
  const vm = await windows(t);
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
  const vm = await windows(t);
  vm.guest.next.set('guest-fsfreeze-freeze', [refusal('prepare failed (error: 80042301)')]);
  const { code, stderr } = await run(vm.command);
  assert.equal(code, 1);
  assert.match(stderr, /\[ExtensionFailedVssWriterInBadState\]/);
  assert.equal((await take(vm)).consistency, 'AppConsistent', 'the next is a first copy');
});

test('Windows: with --guest-load a guest that PowerShell shows to be busy is not frozen', async (t) => {
  const vm = await windows(t);
  const limited = [...vm.command, '--guest-load', '90', '--guest-wait', '1m'];
  /** Idle time of two CPUs and time before and after, in 100 ns; CPUs; memory in all and free, in KiB. */
  const told = (idle: number): { readonly code: number; readonly out: string } => ({
    code: 0,
    out: `0 133000000000000000 ${idle} 133000000005000000 2 4000000 3000000\r\n`,
  });
  vm.guest.exits.set('-EncodedCommand', told(100_000));
  const waiting = start(limited);
  while (!vm.guest.programs.some((words) => words.startsWith('powershell'))) await sleep(20);
  vm.guest.exits.set('-EncodedCommand', told(9_000_000));
  const { code, stdout, stderr } = await ended(waiting);
  assert.equal(code, 0, stderr);
  const { consistency, steps } = JSON.parse(stdout) as Taken;
  assert.equal(consistency, 'AppConsistent');
  assert.deepEqual([steps[0]!.name, steps[0]!.outcome], ['Guest load', 'succeeded']);
  const order = vm.agent.calls.flatMap(({ command, args }) => {
    if (args['path'] === 'powershell.exe') return ['look'];
    return command.endsWith('fsfreeze-freeze') ? ['freeze'] : [];
  });
  assert.deepEqual(order, ['look', 'look', 'freeze']);
});
