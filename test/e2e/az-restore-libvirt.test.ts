/** A guest of libvirt brought back through the service by the unmodified `az`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { azLab } from './az-lab.ts';
import { restoresGuest } from './az-restores.ts';
import {
  libvirtFolder,
  libvirtGuest,
  removeDomain,
  startLibvirtGuest,
  systemDisk,
  untilOff,
  URI,
  virsh,
} from './libvirt-guest.ts';
import { Serving } from './serving.ts';

const serving = new Serving();

test('az brings a guest of libvirt back: a copy, itself, and its disks in place', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const { hypervisor, name: vm } = guest;
  const lab = await azLab(serving, { kvm: URI });
  // Before the folder of the service goes, which has its images.
  t.after(async () => await removeDomain('copy'));
  const platform = {
    host: 'kvm',
    vm,
    guest,
    reach: (name: string) => libvirtGuest(hypervisor, { name, folder }),
    shutDown: async (name: string, { sh }: Pick<typeof guest, 'sh'>) => {
      await sh('sync; (sleep 1; poweroff -f) >/dev/null 2>&1 </dev/null &');
      await untilOff(name);
    },
    lose: async () => await removeDomain(vm),
    start: async (name: string) => void (await virsh('start', name)),
    uuidOf: async (name: string) => (await virsh('domuuid', name)).trim(),
  };
  await restoresGuest(t, serving, { lab, platform });
  assert.match(JSON.stringify(await lab.az('vm list -g kvm')), /"copy"/);
});
