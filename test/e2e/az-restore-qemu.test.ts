/** A guest that QEMU runs without libvirt, brought back through the service by the unmodified `az`. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { realClock } from '#base';
import type { Hypervisor } from '#hypervisor';
import { connectQemu } from '../../src/hypervisor/qemu/connect-qemu.ts';
import { findQemu } from '../../src/hypervisor/qemu/qemu-process.ts';
import { azLab, type AzJob } from './az-lab.ts';
import { restoresGuest, type Guest } from './az-restores.ts';
import { runInGuest } from './libvirt-guest.ts';
import { Serving } from './serving.ts';
import { startGuest } from './tiny-guest.ts';
import { UUID } from './vm-source.ts';

const serving = new Serving();

/** A QEMU serves one client at a time: the service must find it free. */
async function at<Result>(
  uri: string,
  use: (hypervisor: Hypervisor) => Promise<Result>,
): Promise<Result> {
  const hypervisor = await connectQemu({ uri, clock: realClock(), random: randomBytes });
  try {
    return await use(hypervisor);
  } finally {
    await hypervisor.close();
  }
}

const socketOf = (uri: string): string => /^qmp:([^,]+)/.exec(uri)![1]!;

test('az brings a guest of QEMU back: a copy, itself, and its disks in place', async (t) => {
  const guest = await startGuest(t, { args: ['-uuid', UUID] });
  const vm = basename(guest.runDir);
  const uri = `qmp:${guest.qmpPath},agent=${guest.agentPath}`;
  /** By name; the socket of the host is that of one VM. */
  const addresses = new Map([[vm, uri]]);
  t.after(async () => {
    for (const address of addresses.values()) {
      const qemu = await findQemu(socketOf(address));
      if (qemu !== undefined) process.kill(Number(qemu.pid), 'SIGKILL');
    }
  });
  const lab = await azLab(serving, { live: uri });
  const platform = {
    host: 'live',
    vm,
    guest,
    reach: (name: string, job: AzJob): Guest => {
      const told = job.properties.extendedInfo.dynamicErrorMessage ?? '';
      const [, own] = /is at (qmp:\S+)/.exec(told) ?? [];
      assert.equal(own === undefined, name === vm, told);
      if (own !== undefined) addresses.set(name, own);
      const address = addresses.get(name)!;
      return {
        sh: async (script) =>
          await at(address, async (hypervisor) => await runInGuest(hypervisor, name, script)),
      };
    },
    shutDown: async (name: string, { sh }: Guest) => {
      await sh('sync; (sleep 1; poweroff -f) >/dev/null 2>&1 </dev/null &');
      while ((await findQemu(socketOf(addresses.get(name)!))) !== undefined) await sleep(100);
    },
    lose: async () => await guest.kill(),
    start: async (name: string, folder: string) =>
      void (await promisify(execFile)(join(folder, `${name}.start.sh`))),
    uuidOf: async (name: string) =>
      (await at(addresses.get(name)!, async (hypervisor) => await hypervisor.find(name))).uuid!,
  };
  await restoresGuest(t, serving, { lab, platform });
  // What has a socket of its own is a host of its own, once it is told.
  await lab.put(`${lab.subscription}/providers/Holdfast.Backup/hosts/own`, {
    connect: addresses.get('copy')!,
  });
  const [copy] = await lab.az('vm list -g own');
  assert.equal(copy.name, 'copy');
});
