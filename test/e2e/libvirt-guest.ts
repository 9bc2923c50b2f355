/**
 * Real guests under a real libvirtd for tests: the tiny guest of tiny-guest.ts as a domain, defined from XML,
 * run by emulation. A domain goes when its test ends. Needs root, as libvirtd does.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isHoldfastError, realClock } from '#base';
import type { Hypervisor } from '#hypervisor';
import { connectLibvirt } from '../../src/hypervisor/libvirt/connect-libvirt.ts';
import { tinyGuestFolder } from './tiny-guest.ts';

export const URI = 'qemu:///system';
const START = resolve(import.meta.dirname, '../lab/start-libvirtd');

export type GuestDisk = {
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly hasThread?: boolean;
};

export type LibvirtGuest = {
  readonly name: string;
  readonly hypervisor: Hypervisor;
  /** The test's folder, for images; short enough for sockets. */
  readonly folder: string;
  /** Runs a shell script in the guest; its standard output. Waits for the agent first. */
  readonly sh: (script: string) => Promise<string>;
  /** Ends QEMU by SIGKILL and waits until libvirt knows. */
  readonly kill: () => Promise<void>;
};

/** Some minutes, on a busy machine without KVM. */
const MAX_PINGS = 500;

let started: Promise<unknown> | undefined;

/** The daemon, started once. */
export async function libvirt(): Promise<Hypervisor> {
  // Test files run side by side in processes of their own; -o: the daemon does not keep the lock.
  started ??= promisify(execFile)('flock', ['-o', '/tmp/holdfast-libvirtd.lock', START]);
  await started;
  return await connectLibvirt({ uri: URI, clock: realClock() });
}

export async function virsh(...args: readonly string[]): Promise<string> {
  return await tool('virsh', '-q', '-c', URI, ...args);
}

export async function tool(command: string, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { maxBuffer: 64 << 20 })).stdout;
}

/** A folder for a guest's images, which goes with the test. */
export async function libvirtFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp('/tmp/holdfast-lv-');
  t.after(async () => await rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The tiny guest's own disk, copied. */
export async function systemDisk(folder: string): Promise<GuestDisk> {
  const path = join(folder, 'system.qcow2');
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), path);
  return { path, format: 'qcow2' };
}

export async function emptyDisk(
  folder: string,
  disk: { readonly name: string; readonly format: 'qcow2' | 'raw'; readonly size: string },
): Promise<GuestDisk> {
  const path = join(folder, `${disk.name}.${disk.format}`);
  await tool('qemu-img', 'create', '-q', '-f', disk.format, path, disk.size);
  return { path, format: disk.format };
}

/** Defines and starts a guest of these disks, `vda`, `vdb` … . */
export async function startLibvirtGuest(
  t: TestContext,
  options: {
    readonly folder: string;
    readonly disks: readonly GuestDisk[];
    /** More of the domain's devices, as XML. */
    readonly devices?: string;
  },
): Promise<LibvirtGuest> {
  const hypervisor = await libvirt();
  const name = `test-${options.folder.slice(-6)}`;
  t.after(async () => await removeDomain(name));
  const xml = await domainXml(name, options);
  await defineXml(options.folder, xml);
  await virsh('start', name);
  const guest = libvirtGuest(hypervisor, { name, folder: options.folder });
  // libvirt 9.0 may miss that the agent appears while a backup begins.
  await guest.sh('true');
  return guest;
}

export function libvirtGuest(
  hypervisor: Hypervisor,
  { name, folder }: { readonly name: string; readonly folder: string },
): LibvirtGuest {
  return {
    name,
    hypervisor,
    folder,
    sh: async (script) => await runInGuest(hypervisor, name, script),
    kill: async () => {
      const pid = Number(await readFile(`/var/run/libvirt/qemu/${name}.pid`, 'utf8'));
      process.kill(pid, 'SIGKILL');
      await untilOff(name);
    },
  };
}

export async function untilOff(name: string): Promise<void> {
  while ((await virsh('domstate', name)).trim() !== 'shut off') await sleep(50);
}

export async function defineXml(folder: string, xml: string): Promise<void> {
  const path = join(folder, 'domain.xml');
  await writeFile(path, xml);
  await virsh('define', path);
}

/** Whatever state it is in, or nothing. */
export async function removeDomain(name: string): Promise<void> {
  const metadata = [
    '--managed-save',
    '--checkpoints-metadata',
    '--snapshots-metadata',
    '--keep-nvram',
  ];
  await virsh('destroy', name).catch(() => ''); // It may be off or gone.
  await virsh('undefine', name, ...metadata).catch(() => '');
  assert.ok(!(await virsh('list', '--all', '--name')).split('\n').includes(name));
}

export async function domainXml(
  name: string,
  {
    folder,
    disks,
    devices = '',
  }: {
    readonly folder: string;
    readonly disks: readonly GuestDisk[];
    readonly devices?: string;
  },
): Promise<string> {
  const guest = await tinyGuestFolder();
  const environment = await readFile(join(guest, 'guest.env'), 'utf8');
  const [, commandLine] = /^TG_CMDLINE="(.*)"$/m.exec(environment) ?? [];
  assert.ok(commandLine !== undefined);
  const diskXml = disks.map(
    ({ path, format, hasThread }, index) => `<disk type='file' device='disk'>
      <driver name='qemu' type='${format}' discard='unmap'${hasThread === true ? " iothread='1'" : ''}/><source file='${path}'/>
      <target dev='vd${'abcdefgh'[index]}' bus='virtio'/><serial>serial-${index}</serial></disk>`,
  );
  return `<domain type='qemu'>
    <name>${name}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu><iothreads>1</iothreads>
    <os><type arch='x86_64' machine='q35'>hvm</type><kernel>${guest}/kernel</kernel>
      <initrd>${guest}/initrd</initrd><cmdline>${commandLine}</cmdline></os>
    <features><acpi/></features>
    <cpu mode='custom' match='exact' check='none'><model fallback='allow'>qemu64</model>
      <feature policy='require' name='rdrand'/></cpu>
    <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${diskXml.join('')}
      <serial type='file'><source path='${folder}/console.log'/></serial>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
      <controller type='usb' model='none'/><memballoon model='none'/>${devices}
    </devices></domain>`;
}

type GuestExit = { exited: boolean; exitcode?: number; 'out-data'?: string; 'err-data'?: string };

/** Through the hypervisor's agent channel, once the agent answers; the script's standard output. */
export async function runInGuest(
  hypervisor: Hypervisor,
  name: string,
  script: string,
): Promise<string> {
  const agent = await hypervisor.agent(name);
  assert.ok(agent !== undefined, `${name} has no agent channel`);
  const call = async (command: string, args: Record<string, unknown> = {}): Promise<unknown> =>
    await agent.execute(command, { arguments: args, timeoutMs: 30_000 });
  for (let tries = 1; ; tries += 1) {
    try {
      await agent.execute('guest-ping', { timeoutMs: 5000 });
      break;
    } catch (error) {
      // It boots.
      if (!isHoldfastError(error, 'AgentUnavailable') || tries === MAX_PINGS) throw error;
      await sleep(300);
    }
  }
  const { pid } = (await call('guest-exec', {
    path: '/bin/sh',
    arg: ['-c', script],
    'capture-output': true,
  })) as { pid: number };
  for (;;) {
    const status = (await call('guest-exec-status', { pid })) as GuestExit;
    const decode = (text = ''): string => Buffer.from(text, 'base64').toString();
    if (status.exited) {
      assert.equal(status.exitcode, 0, `${script}: ${decode(status['err-data'])}`);
      await agent.close();
      return decode(status['out-data']);
    }
    await sleep(100);
  }
}
