/** The guest that is measured, the same under libvirt and under QEMU alone. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import {
  defineXml,
  domainXml,
  libvirt,
  libvirtGuest,
  removeDomain,
  URI,
  virsh,
} from '../../test/e2e/libvirt-guest.ts';
import { tinyGuestFolder } from '../../test/e2e/tiny-guest.ts';

export type LiveGuest = {
  readonly kind: 'libvirt' | 'QMP';
  /** As every tool calls it. */
  readonly name: string;
  /** Of Holdfast. */
  readonly connection: readonly string[];
  /** Runs a shell script in the guest; its standard output. */
  sh(script: string): Promise<string>;
  /** All checkpoints and bitmaps go, so that the next backup is a first one. */
  forget(): Promise<void>;
  stop(): Promise<void>;
};

const RUN_GUEST = resolve(import.meta.dirname, '../../test/lab/run-guest');
/** For an agent under emulation on a busy machine, and for scripts of some seconds. */
const TIMEOUT = ['GA_TIMEOUT=600', 'RUN_GUEST_TIMEOUT=300'];
const SCRIPT_MS = 600_000;

export async function startUnderLibvirt(image: string): Promise<LiveGuest> {
  const hypervisor = await libvirt();
  const folder = mkdtempSync('/tmp/holdfast-live-');
  const name = `live-${folder.slice(-6)}`;
  const disks = [{ path: image, format: 'qcow2' as const }];
  await defineXml(folder, await domainXml(name, { folder, disks }));
  await virsh('start', name);
  const { sh } = libvirtGuest(hypervisor, { name, folder });
  await sh('true');
  return {
    kind: 'libvirt',
    name,
    connection: ['--connect', URI],
    sh,
    forget: async () => {
      const names = (await virsh('checkpoint-list', name, '--name')).split('\n');
      for (const checkpoint of names.filter((line) => line !== '')) {
        await virsh('checkpoint-delete', name, checkpoint);
      }
    },
    stop: async () => {
      await removeDomain(name);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export async function startUnderQemu(image: string): Promise<LiveGuest> {
  const folder = mkdtempSync('/tmp/holdfast-live-');
  const runDir = join(folder, 'guest');
  mkdirSync(runDir);
  const [qmp, agent] = [join(runDir, 'qmp.sock'), join(runDir, 'qga.sock')];
  await runGuest('start', '-k', await tinyGuestFolder(), '-d', image, runDir);
  const command = async (execute: string, args: Readonly<Record<string, unknown>>) =>
    JSON.parse(await runGuest('qmp', runDir, JSON.stringify({ execute, arguments: args }))) as {
      readonly return: unknown;
    };
  return {
    kind: 'QMP',
    name: 'guest',
    connection: ['--connect', `qmp:${qmp},agent=${agent}`],
    sh: async (script) => await runGuest('exec', runDir, '/bin/sh', '-c', script),
    forget: async () => {
      const blocks = (await command('query-block', {})).return as readonly {
        readonly inserted?: { readonly 'dirty-bitmaps'?: readonly { readonly name: string }[] };
      }[];
      for (const { name } of blocks.flatMap(({ inserted }) => inserted?.['dirty-bitmaps'] ?? [])) {
        await command('block-dirty-bitmap-remove', { node: 'disk0', name });
      }
    },
    stop: async () => {
      await runGuest('stop', runDir, 'quit');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function runGuest(...args: readonly string[]): Promise<string> {
  const options = { maxBuffer: 64 << 20, timeout: SCRIPT_MS };
  return (await promisify(execFile)('env', [...TIMEOUT, RUN_GUEST, ...args], options)).stdout;
}
