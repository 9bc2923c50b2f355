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
import { undoneInTheEnd } from '../measuring/clean-up.ts';

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
  const stop = undoneInTheEnd(async () => {
    await removeDomain(name);
    rmSync(folder, { recursive: true, force: true });
  });
  const { sh } = libvirtGuest(hypervisor, { name, folder });
  await orUndone(stop, async () => {
    await defineXml(folder, await domainXml(name, { folder, disks }));
    await virsh('start', name);
    await sh('true');
  });
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
    stop,
  };
}

export async function startUnderQemu(image: string): Promise<LiveGuest> {
  const folder = mkdtempSync('/tmp/holdfast-live-');
  const runDir = join(folder, 'guest');
  mkdirSync(runDir);
  const [qmp, agent] = [join(runDir, 'qmp.sock'), join(runDir, 'qga.sock')];
  const stop = undoneInTheEnd(async () => {
    await runGuest('stop', runDir, 'quit');
    rmSync(folder, { recursive: true, force: true });
  });
  const kernel = await tinyGuestFolder();
  await orUndone(stop, async () => await runGuest('start', '-k', kernel, '-d', image, runDir));
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
    stop,
  };
}

/** A guest that does not start is not left half there. */
async function orUndone(undo: () => Promise<void>, start: () => Promise<unknown>): Promise<void> {
  try {
    await start();
  } catch (error) {
    await undo();
    throw error;
  }
}

async function runGuest(...args: readonly string[]): Promise<string> {
  const options = { maxBuffer: 64 << 20, timeout: SCRIPT_MS };
  return (await promisify(execFile)('env', [...TIMEOUT, RUN_GUEST, ...args], options)).stdout;
}
