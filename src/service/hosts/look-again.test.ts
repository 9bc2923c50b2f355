import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { FakeClock } from '#base';
import { testService } from '../testing/test-service.ts';
import { discoverHost } from './discovery.ts';
import { getHost, putHost } from './hosts.ts';
import { lookAgain } from './look-again.ts';
import { listVms } from './vms.ts';

test('whoever asks whether a VM runs is told by its host, not by what was seen minutes ago', async (t) => {
  const clock = new FakeClock(Date.parse('2026-03-01T00:00:00Z'));
  const made = await testService(t, { clock });
  const service = made.service();
  const [socket, disk] = [join(made.images, 'vm.qmp'), join(made.images, 'vm.raw')];
  writeFileSync(disk, Buffer.alloc(1 << 20));
  const start = async () => {
    const options = `-name web -machine q35 -display none -nodefaults -S -qmp unix:${socket},server=on,wait=off`;
    const drive = `-drive file=${disk},format=raw,if=virtio`;
    const child = spawn('qemu-system-x86_64', [...options.split(' '), ...drive.split(' ')]);
    t.after(() => child.kill('SIGKILL'));
    while (!existsSync(socket)) await sleep(20);
    return child;
  };
  const states = async () => {
    await lookAgain(service);
    return (await listVms(service.catalogue.read)).map(({ name, facts }) => [name, facts.state]);
  };
  const qemu = await start();
  await putHost(service, { name: 'vm1', uri: `qmp:${socket}` });
  await discoverHost(service, 'vm1');
  assert.deepEqual(await states(), [['web', 'paused']]);
  qemu.kill('SIGTERM');
  await once(qemu, 'exit');
  assert.deepEqual(await states(), [['web', 'paused']], 'it was looked at in this moment');
  clock.advance(3_000);
  assert.deepEqual(await states(), []);
  assert.match((await getHost(service.catalogue.read, 'vm1')).failure!, /its VM is off/);
  await start();
  clock.advance(3_000);
  assert.deepEqual(await states(), [['web', 'paused']]);
});
