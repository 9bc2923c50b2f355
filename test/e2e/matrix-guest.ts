/**
 * A guest for the compatibility matrix: the same tiny guest by QMP, by libvirt, or as images while it is off.
 *
 * It writes by itself from its start on, without being told (`rc.local` on its first disk), so that it needs no
 * agent: record n to `/data/records` with fsync, then n to the start of each other disk, which have no file
 * system. So at any one instant the disks' numbers differ by one at most, in order: what is restored shows
 * whether the disks were read as of one moment. How far it is it says on its console.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  defineXml,
  domainXml,
  libvirt,
  libvirtFolder,
  libvirtGuest,
  removeDomain,
  untilOff,
  URI,
  virsh,
} from './libvirt-guest.ts';
import type { Cell } from './matrix-cells.ts';
import { guestFolder, startGuest, tinyGuestFolder, type TinyGuest } from './tiny-guest.ts';

const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;
const MAX_LOOKS = 6000;
const LOOK_MS = 50;

/** In `/data`, so that a shutdown cannot unmount it under the writer, who would go on in the folder below. */
const WRITER = `#!/bin/sh
cd /data || exit
(
n=$(tail -n 1 records 2>/dev/null | cut -d' ' -f1)
: "\${n:=0}"
while :; do n=$((n+1))
body="$n $(dd if=/dev/urandom bs=100 count=1 2>/dev/null | od -An -tx1 | tr -d ' \\n')"
echo "$body $(printf %s "$body" | sha256sum | cut -d' ' -f1)" | dd of=records oflag=append conv=notrunc,fsync 2>/dev/null || exit
for disk in b c d; do [ -b /dev/vd$disk ] || continue
echo $n | dd of=/dev/vd$disk bs=512 conv=fsync,notrunc,sync 2>/dev/null
done
[ $((n % 5)) != 0 ] || echo "RECORD $n" >/dev/console
done
) >/dev/null 2>&1 </dev/null &
`;

const STOP_AGENT =
  '(sleep 0.5; kill -STOP $(pidof qemu-ga); echo "AGENT HUNG" >/dev/console) >/dev/null 2>&1 </dev/null &';

export interface MatrixGuest {
  readonly folder: string;
  /** Arguments that say where the VM is. */
  readonly connection: readonly string[];
  /** As Holdfast calls it. */
  readonly vm: string;
  /** The images, in the order of the disks. */
  readonly images: readonly string[];
  readonly consoleLog: string;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Shuts down in order. */
  off(): Promise<void>;
  hangAgent(): Promise<void>;
}

export async function matrixGuest(t: TestContext, cell: Cell): Promise<MatrixGuest> {
  return cell.hypervisor === 'libvirt' ? await libvirtCell(t, cell) : await qemuCell(t, cell);
}

/** Waits until the guest says on its console that it has written this many records. */
export async function recordsReach(guest: MatrixGuest, count: number): Promise<number> {
  return await fromConsole(guest, (text) => {
    const said = Number(Array.from(text.matchAll(/RECORD (\d+)/g)).at(-1)?.[1] ?? 0);
    return said >= count ? said : undefined;
  });
}

async function fromConsole<Found>(
  { consoleLog }: { readonly consoleLog: string },
  find: (text: string) => Found | undefined,
): Promise<Found> {
  for (let looks = 0; ; looks += 1) {
    const text = await readFile(consoleLog, 'utf8');
    const found = find(text);
    if (found !== undefined) return found;
    if (looks === MAX_LOOKS) throw new Error(`the guest does not go on:\n${text.slice(-2000)}`);
    await sleep(LOOK_MS);
  }
}

async function agentHangs(guest: { readonly consoleLog: string }): Promise<void> {
  await fromConsole(guest, (text) => (text.includes('AGENT HUNG') ? true : undefined));
}

async function qemuCell(t: TestContext, cell: Cell): Promise<MatrixGuest> {
  const runDir = await guestFolder(t);
  const images = await makeImages(runDir, cell);
  const isOff = cell.state === 'off';
  const agent = cell.agent === 'none' ? '' : `,agent=${join(runDir, 'qga.sock')}`;
  const address = isOff
    ? `images:${join(runDir, 'vms')}`
    : `qmp:${join(runDir, 'qmp.sock')}${agent}`;
  let guest: TinyGuest | undefined;
  const running = (): TinyGuest => guest ?? unstarted();
  const consoleLog = join(runDir, 'console.log');
  return {
    folder: runDir,
    connection: ['--connect', address],
    vm: isOff ? 'guest' : basename(runDir),
    images,
    consoleLog,
    start: async () => {
      guest = await startGuest(t, { disks: images, runDir });
    },
    pause: async () => void (await running().qmp('stop')),
    resume: async () => void (await running().qmp('cont')),
    off: async () => await running().stop('acpi'),
    hangAgent: async () => {
      await running().sh(STOP_AGENT);
      await agentHangs({ consoleLog });
    },
  };
}

async function libvirtCell(t: TestContext, cell: Cell): Promise<MatrixGuest> {
  const hypervisor = await libvirt();
  const folder = await libvirtFolder(t);
  const images = await makeImages(folder, cell);
  const name = `matrix-${folder.slice(-6)}`;
  const disks = images.map((path) => ({ path, format: cell.format }));
  const xml = await domainXml(name, { folder, disks });
  t.after(async () => await removeDomain(name));
  await defineXml(
    folder,
    cell.agent === 'none' ? xml.replace(/<channel type='unix'>.*<\/channel>/, '') : xml,
  );
  const domain = libvirtGuest(hypervisor, { name, folder });
  const consoleLog = join(folder, 'console.log');
  return {
    folder,
    connection: ['--connect', URI],
    vm: name,
    images,
    consoleLog,
    start: async () => {
      await rm(consoleLog, { force: true });
      await virsh('start', name);
      // libvirt 9.0 may miss that the agent appears while a backup begins.
      if (cell.agent !== 'none') await domain.sh('true');
    },
    pause: async () => void (await virsh('suspend', name)),
    resume: async () => void (await virsh('resume', name)),
    off: async () => {
      await virsh('shutdown', name, '--mode', 'acpi');
      await untilOff(name);
    },
    hangAgent: async () => {
      await domain.sh(STOP_AGENT);
      await agentHangs({ consoleLog });
    },
  };
}

function unstarted(): never {
  throw new Error('the guest was not started');
}

/** The tiny guest's disk with the writer on it, and empty ones. */
async function makeImages(folder: string, { format, disks }: Cell): Promise<string[]> {
  const place = join(folder, 'vms', 'guest');
  await mkdir(place, { recursive: true });
  const paths = ['vda', 'vdb', 'vdc', 'vdd']
    .slice(0, disks)
    .map((name) => join(place, `${name}.${format}`));
  const raw = join(folder, 'system.tmp');
  const writer = join(folder, 'rc.local');
  await writeFile(writer, WRITER);
  await tool('qemu-img', 'convert', '-O', 'raw', join(await tinyGuestFolder(), 'disk.qcow2'), raw);
  await tool('debugfs', '-w', '-R', `write ${writer} rc.local`, raw);
  await tool('debugfs', '-w', '-R', 'set_inode_field rc.local mode 0100755', raw);
  await tool('qemu-img', 'convert', '-f', 'raw', '-O', format, raw, paths[0]!);
  await rm(raw);
  for (const path of paths.slice(1)) {
    await tool('qemu-img', 'create', '-q', '-f', format, path, '64M');
  }
  return paths;
}

export async function tool(command: string, ...args: readonly string[]): Promise<string> {
  const options = { env: { ...process.env, PATH }, maxBuffer: 256 << 20 };
  return (await promisify(execFile)(command, args, options)).stdout;
}
