/** The contract of `Hypervisor`, on libvirt: two qcow2 disks of a VM that runs. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { hypervisorContract, type ContractSubject } from './hypervisor.contract.ts';
import { emptyDisk, libvirtFolder, startLibvirtGuest, systemDisk, virsh } from './libvirt-guest.ts';

/** @param hasThread of the first disk. */
async function libvirtSubject(t: TestContext, hasThread: boolean): Promise<ContractSubject> {
  const folder = await libvirtFolder(t);
  const first = { ...(await systemDisk(folder)), hasThread };
  const second = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' });
  const guest = await startLibvirtGuest(t, { folder, disks: [first, second] });
  const scratchDir = join(folder, 'scratch');
  await mkdir(scratchDir);
  let changes = 0;
  return {
    hypervisor: guest.hypervisor,
    vm: guest.name,
    scratchDir,
    disks: ['vda', 'vdb'],
    change: async () => {
      changes += 1;
      const random = 'dd if=/dev/urandom bs=64k conv=fsync,notrunc';
      await guest.sh(`${random} count=12 of=/data/new && sync`);
      await guest.sh(`${random} count=3 seek=${changes * 5} of=/dev/vdb`);
    },
    traces: async () => await tracesOf(guest.name),
  };
}

type Node = { readonly 'dirty-bitmaps'?: readonly { readonly name?: string }[] };

/** Asked of QEMU itself, past libvirt. */
async function tracesOf(name: string): ReturnType<ContractSubject['traces']> {
  const ask = async (execute: string): Promise<unknown> => {
    const command = JSON.stringify({ execute });
    const answer = await virsh('qemu-monitor-command', name, '--cmd', command);
    return (JSON.parse(answer) as { readonly return: unknown }).return;
  };
  const jobs = (await ask('query-jobs')) as readonly { readonly id: string }[];
  const exports = (await ask('query-block-exports')) as readonly { readonly id: string }[];
  const nodes = (await ask('query-named-block-nodes')) as readonly Node[];
  const bitmaps = nodes.flatMap((node) =>
    (node['dirty-bitmaps'] ?? []).flatMap((bitmap) => bitmap.name ?? []),
  );
  return { others: [...jobs, ...exports].map(({ id }) => id), bitmaps };
}

hypervisorContract('libvirt', async (t) => await libvirtSubject(t, false));
hypervisorContract('libvirt with an I/O thread', async (t) => await libvirtSubject(t, true));
