/** A point of a guest of QEMU with two disks, for tests that bring it back. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { json, succeed } from '../cli/holdfast.ts';
import { moreRecords, startWriting } from './records.ts';
import { guestFolder, startGuest, tinyGuestFolder } from './tiny-guest.ts';

export const UUID = '9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11';
export const MAC = '52:54:00:11:22:33';
const DATA_MIB = 192;

export type Source = {
  readonly folder: string;
  readonly repository: string;
  /** How many records there were before the backup. */
  readonly records: number;
};

export type Shown = {
  readonly name: string;
  readonly uuid?: string;
  readonly state: string;
  readonly disks: readonly { readonly name: string; readonly location: string }[];
  readonly networkCards: readonly { readonly mac: string }[];
};

/** A point of a guest that writes records, with a second disk; the guest runs on where that is asked for. */
export async function backedUp(
  t: TestContext,
  { runsOn }: { readonly runsOn: boolean },
): Promise<Source> {
  const folder = await guestFolder(t);
  const repository = join(folder, 'repository');
  const disks = [join(folder, 'disk.qcow2'), join(folder, 'data.raw')];
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disks[0]!);
  const data = ['if=/dev/urandom', `of=${disks[1]}`, 'bs=1M', `count=${DATA_MIB}`, 'status=none'];
  await promisify(execFile)('dd', data);
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const card = ['virtio-net-pci', 'netdev=n0', `mac=${MAC}`, 'romfile='].join(',');
  const net = ['-netdev', 'user,id=n0,hostfwd=tcp:127.0.0.1:0-:22', '-device', card];
  const guest = await startGuest(t, { disks, args: ['-uuid', UUID, ...net] });
  await startWriting(guest);
  const records = await moreRecords(guest, 10);
  const { vms } = await json<{ readonly vms: readonly Shown[] }>([
    'vm',
    'list',
    '--connect',
    `qmp:${guest.qmpPath}`,
  ]);
  const connection = `qmp:${guest.qmpPath},agent=${guest.agentPath}`;
  const to = ['--repo', repository, '--item', 'web', '--no-encryption', '--connect', connection];
  await succeed(['vm', 'backup', vms[0]!.name, ...to, '--json']);
  if (!runsOn) await guest.kill();
  return { folder, repository, records };
}

export function from({ repository }: Source, ...more: readonly string[]): readonly string[] {
  return ['web', '--repo', repository, '--no-encryption', ...more];
}

export async function rawCopy(image: string): Promise<string> {
  const raw = `${image}.check`;
  await promisify(execFile)('qemu-img', ['convert', '-O', 'raw', image, raw]);
  // The guest was switched off as it ran: its journal is replayed as at its next start.
  await promisify(execFile)('/usr/sbin/e2fsck', ['-fp', raw]).catch((error: { code: number }) => {
    assert.ok(error.code <= 1, 'only the journal is replayed');
  });
  return raw;
}

export function imagesIn(folder: string, names: readonly string[]): string[] {
  return names.filter((name) => /\.(qcow2|raw)$/.test(name)).map((name) => join(folder, name));
}

/** Ids of the item's points, as `repo points` lists them. */
export async function pointsOf({ repository }: Source, item: string): Promise<readonly string[]> {
  const { points } = await json<{ readonly points: readonly { readonly id: string }[] }>([
    'repo',
    'points',
    repository,
    '--item',
    item,
    '--no-encryption',
  ]);
  return points.map(({ id }) => id);
}
