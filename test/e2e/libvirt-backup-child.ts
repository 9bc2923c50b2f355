/**
 * A backup that its test kills: takes a snapshot of the VM, says so, and waits. Arguments: VM,
 * scratch folder, repository, point, the bases by disk and those of other items, both as JSON.
 */
import { realClock } from '#base';
import { connectLibvirt } from '../../src/hypervisor/libvirt/connect-libvirt.ts';

const [vm = '', scratchDir = '', repositoryId = '', point = ''] = process.argv.slice(2);
const bases = new Map(
  Object.entries(
    JSON.parse(process.argv[6] ?? '{}') as Record<string, { point: string; fingerprint: string }[]>,
  ),
);
const otherBases = new Set(JSON.parse(process.argv[7] ?? '[]') as string[]);
const hypervisor = await connectLibvirt({ uri: 'qemu:///system', clock: realClock() });
const tracking = { repositoryId, point, bases, otherBases, blockSize: 16_384 };
const prepared = await hypervisor.prepare({ vm, tracking, scratchDir, warn: () => {} });
const snapshot = await prepared.snapshot();
process.stdout.write('taken\n');
await snapshot.lost;
