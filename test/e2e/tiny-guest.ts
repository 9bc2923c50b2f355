/**
 * Real guests for tests: a tiny Linux (busybox, qemu-guest-agent, `tg-writer`) that boots in some seconds under
 * emulation. Built once into `.cache/tiny-guest` by test/lab/make-tiny-guest; run by test/lab/run-guest.
 *
 * The disks are virtio-blk devices `vd0`, `vd1` … on block nodes `disk0`, `disk1` …; their ext4 file systems
 * are mounted on `/data`, `/data2` … in the guest. A guest and its folder go when its test ends.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';

const LAB = resolve(import.meta.dirname, '../lab');
const CACHE = resolve(import.meta.dirname, '../../.cache/tiny-guest');
const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;
/** How long a guest may take to boot, or a command in it to end, on a busy machine without KVM. */
const GUEST_TIMEOUT_S = '300';

export type GuestOptions = {
  /** Images, as `run-guest -d` takes them; absent: a private copy of the tiny guest's own disk. */
  readonly disks?: readonly string[];
  /** Starts without running: no agent answers until QMP's `cont`. */
  readonly paused?: boolean;
  /** More options of `run-guest start`: what is booted. */
  readonly boot?: readonly string[];
  /** More arguments for QEMU; none may contain a space. */
  readonly args?: readonly string[];
  /** The folder of a guest that was stopped or killed, to start it again there; absent: a new one. */
  readonly runDir?: string;
};

export type TinyGuest = {
  readonly runDir: string;
  /** For the product; the fixture itself talks through another socket. */
  readonly qmpPath: string;
  /** Serves one client at a time: `exec` waits while the product is connected. */
  readonly agentPath: string;
  readonly pid: number;
  readonly consoleLog: string;
  /** Runs a command in the guest; its standard output. Rejects if it exits other than 0. */
  exec(command: string, ...args: readonly string[]): Promise<string>;
  /** As `exec('/bin/sh', '-c', script)`. */
  sh(script: string): Promise<string>;
  /** One QMP command; its `return`. */
  qmp(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Shuts down: `acpi` in order, `quit` at once (QEMU still writes its bitmaps). Idempotent. */
  stop(how?: 'acpi' | 'agent' | 'quit'): Promise<void>;
  /** Ends QEMU by SIGKILL, as a crash of the host does. */
  kill(): Promise<void>;
};

let built: Promise<string> | undefined;

/** The folder of the tiny guest: `kernel`, `initrd`, `disk.qcow2` (256 MiB, ext4), `manifest.sha256`. */
export async function tinyGuestFolder(): Promise<string> {
  built ??= build();
  return await built;
}

/** Starts a guest; on return its agent answers (unless `paused`). */
export async function startGuest(t: TestContext, options: GuestOptions = {}): Promise<TinyGuest> {
  const folder = await tinyGuestFolder();
  const runDir = options.runDir ?? (await guestFolder(t));
  const disks = (options.disks ?? []).flatMap((disk) => ['-d', disk]);
  const flags = [...(options.boot ?? []), ...(options.paused === true ? ['-P'] : [])];
  t.after(async () => await lab('run-guest', ['stop', runDir, 'quit']));
  await lab('run-guest', ['start', '-k', folder, ...disks, ...flags, runDir], {
    RUN_GUEST_ARGS: (options.args ?? []).join(' '),
    RUN_GUEST_TIMEOUT: GUEST_TIMEOUT_S,
  });
  return guestIn(runDir);
}

/** A folder short enough for sockets, for images of a guest that starts later; goes with the test. */
export async function guestFolder(t: TestContext): Promise<string> {
  const parent = tmpdir().length > 40 ? '/tmp' : tmpdir();
  const folder = await mkdtemp(join(parent, 'holdfast-vm-'));
  // Hooks run in the order they were made: a guest started later is stopped before, by its own test's end.
  t.after(async () => {
    await lab('run-guest', ['stop', folder, 'quit']);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

function guestIn(runDir: string): TinyGuest {
  const pid = Number(readFileSync(join(runDir, 'pid'), 'utf8'));
  const exec: TinyGuest['exec'] = async (command, ...args) =>
    await lab('run-guest', ['exec', runDir, command, ...args], { GA_TIMEOUT: GUEST_TIMEOUT_S });
  return {
    runDir,
    qmpPath: join(runDir, 'qmp.sock'),
    agentPath: join(runDir, 'qga.sock'),
    consoleLog: join(runDir, 'console.log'),
    pid,
    exec,
    sh: async (script) => await exec('/bin/sh', '-c', script),
    qmp: async (command, args = {}) => {
      const text = JSON.stringify({ execute: command, arguments: args });
      const reply: unknown = JSON.parse(await lab('run-guest', ['qmp', runDir, text]));
      assert.ok(typeof reply === 'object' && reply !== null && 'return' in reply);
      return reply.return;
    },
    stop: async (how = 'acpi') => {
      await lab('run-guest', ['stop', runDir, how], { RUN_GUEST_STOP_TIMEOUT: '120' });
    },
    kill: async () => {
      process.kill(pid, 'SIGKILL');
      await lab('run-guest', ['stop', runDir, 'quit']);
    },
  };
}

async function build(): Promise<string> {
  mkdirSync(CACHE, { recursive: true });
  const folder = join(CACHE, 'guest');
  const make = [join(LAB, 'make-tiny-guest'), '-c', join(CACHE, 'packages'), folder];
  // Test files run side by side in processes of their own.
  await run('flock', [join(CACHE, 'lock'), ...make]);
  return folder;
}

async function lab(
  script: 'run-guest',
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return await run(join(LAB, script), args, env);
}

async function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const options = { env: { ...process.env, PATH, ...env }, maxBuffer: 64 << 20 };
  return (await promisify(execFile)(command, args, options)).stdout;
}
