/** A tiny guest with two disks, qcow2 and raw, as the product sees it through QMP. */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { realClock } from '#base';
import type { Hypervisor } from '#hypervisor';
import { connectQemu, type ConnectQemuOptions } from '../../src/hypervisor/qemu/connect-qemu.ts';
import type { ContractSubject } from './hypervisor.contract.ts';
import {
  guestFolder,
  startGuest,
  tinyGuestFolder,
  type GuestOptions,
  type TinyGuest,
} from './tiny-guest.ts';

export type QemuSubject = ContractSubject & {
  readonly guest: TinyGuest;
  readonly images: readonly string[];
};

type Mechanism = NonNullable<ConnectQemuOptions['mechanism']>;

/** Arguments that give every virtio disk of a guest an I/O thread. */
export const THREADS = ['-object', 'iothread,id=io0', '-global', 'virtio-blk-device.iothread=io0'];

/** Connects to a guest's QEMU; closed with the test. */
export async function connectTo(
  t: TestContext,
  guest: TinyGuest,
  mechanism?: Mechanism,
): Promise<Hypervisor> {
  const hypervisor = await connectQemu({
    uri: `qmp:${guest.qmpPath},agent=${guest.agentPath}`,
    clock: realClock(),
    random: randomBytes,
    ...(mechanism === undefined ? {} : { mechanism }),
  });
  t.after(async () => await hypervisor.close());
  return hypervisor;
}

/** `vd0` is qcow2 and `vd1` raw, each with the tiny guest's file system. */
export async function qemuSubject(
  t: TestContext,
  options: { readonly mechanism?: Mechanism; readonly guest?: GuestOptions } = {},
): Promise<QemuSubject> {
  const runDir = options.guest?.runDir ?? (await guestFolder(t));
  const images = options.guest?.disks ?? (await twoImages(runDir));
  const guest = await startGuest(t, { ...options.guest, runDir, disks: images });
  const hypervisor = await connectTo(t, guest, options.mechanism);
  const scratchDir = join(runDir, 'scratch');
  await mkdir(scratchDir, { recursive: true });
  const [vm] = await hypervisor.list();
  return {
    hypervisor,
    vm: vm!.name,
    scratchDir,
    disks: images.map((_image, at) => `vd${at}`),
    guest,
    images,
    change: async () => {
      const folders = images.map((_image, at) => (at === 0 ? '/data' : `/data${at + 1}`));
      await guest.sh(
        folders
          .map((folder) => `dd if=/dev/urandom of=${folder}/new bs=64k count=12 conv=fsync 2>&1`)
          .join(' && '),
      );
    },
    traces: async () => await tracesIn(guest),
  };
}

export async function twoImages(folder: string): Promise<readonly string[]> {
  const original = join(await tinyGuestFolder(), 'disk.qcow2');
  const images = [join(folder, 'disk.qcow2'), join(folder, 'data.raw')];
  await copyFile(original, images[0]!);
  await promisify(execFile)('qemu-img', ['convert', '-O', 'raw', original, images[1]!]);
  return images;
}

type Named = { readonly 'node-name'?: string; readonly id?: string };
type Node = Named & { readonly 'dirty-bitmaps'?: readonly { readonly name?: string }[] };

export async function tracesIn(
  guest: Pick<TinyGuest, 'qmp'>,
): ReturnType<ContractSubject['traces']> {
  const nodes = (await guest.qmp('query-named-block-nodes', { flat: true })) as readonly Node[];
  const exports = (await guest.qmp('query-block-exports')) as readonly Named[];
  const jobs = (await guest.qmp('query-jobs')) as readonly Named[];
  const names = [...nodes, ...exports, ...jobs].map((one) => one['node-name'] ?? one.id ?? '');
  const bitmaps = nodes.flatMap((node) =>
    // A filter shows bitmaps of its own, without names.
    (node['dirty-bitmaps'] ?? []).flatMap(({ name }) => (name === undefined ? [] : [name])),
  );
  return { others: names.filter((name) => name.startsWith('holdfast-')), bitmaps };
}
