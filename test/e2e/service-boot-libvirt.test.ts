/**
 * VMs of libvirt that the service boots from a point beside the one that runs on: what is refused before, a VM that is
 * shut down before its disks have been moved, a trial that ends.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fail, succeed, withoutPasswords } from '../cli/holdfast.ts';
import {
  libvirtFolder,
  libvirtGuest,
  removeDomain,
  startLibvirtGuest,
  systemDisk,
  tool,
  untilOff,
  URI,
  virsh,
} from './libvirt-guest.ts';
import { moreRecords, recordsIn, startWriting } from './records.ts';
import { servingJobs, type Job } from './serving-jobs.ts';
import { Serving } from './serving.ts';
import { rawCopy } from './vm-source.ts';

withoutPasswords();

/** Takes a while to be copied. */
const DATA_MIB = 768;

const serving = new Serving();
const { variables, holdfast, until } = servingJobs(serving);

test('the service boots VMs of libvirt from a point', async (t) => {
  const folder = await libvirtFolder(t);
  const data = join(folder, 'data.raw');
  const fill = ['if=/dev/urandom', `of=${data}`, 'bs=1M', `count=${DATA_MIB}`, 'status=none'];
  await tool('dd', ...fill);
  const disks = [await systemDisk(folder), { path: data, format: 'raw' as const }];
  const original = await startLibvirtGuest(t, { folder, disks });
  const { name: vm } = original;
  await startWriting(original);
  const before = await moreRecords(original, 5);
  const account = join(folder, 'restored');
  await serving.start();
  for (const args of [
    ['host', 'add', 'lv', '--connect', URI],
    ['vault', 'create', 'v1', '--group', 'lv'],
    ['storage-account', 'add', 'store', '--path', account, '--group', 'lv'],
    ['protect', vm],
    ['backup', vm],
  ]) {
    await succeed(args, { variables });
  }

  await t.test('what cannot be booted is refused before anything is made', async () => {
    const refused = async (says: RegExp, ...args: string[]): Promise<void> =>
      await fail(['boot', vm, ...args], { code: 1, says }, { variables });
    await refused(/VmExists/, '--as', vm);
    await refused(/no host 'other'.*ResourceNotFound/, '--as', `${vm}-x`, '--host', 'other');
    assert.deepEqual(readdirSync(account), []);
  });

  await t.test(
    'a trial runs beside the original, whose backups go on, and is discarded',
    async (tt) => {
      const name = `${vm}-tried`;
      tt.after(async () => await removeDomain(name));
      const guest = libvirtGuest(original.hypervisor, { name, folder });
      const begun = await holdfast<Job>('boot', vm, '--as', name, '--trial', '--no-wait');
      await until(begun.id, ({ properties }) => properties['State'] === 'Booted');
      assert.ok(Number((await guest.sh('wc -l < /data/records')).trim()) >= before);
      await succeed(['backup', vm], { variables });
      // Off by somebody's hand: the trial is still there to be ended.
      await virsh('destroy', name);
      const ended = await holdfast<Job>('jobs', 'stop', begun.id);
      assert.deepEqual([ended.status, ended.properties['Remains']], ['Cancelled', undefined]);
      assert.doesNotMatch(await virsh('list', '--all', '--name'), new RegExp(`^${name}$`, 'm'));
      assert.deepEqual(readdirSync(account), []);
      await moreRecords(original, 1);
    },
  );

  await t.test(
    'shut down before its disks are moved, it is waited for, and moved when it runs again',
    async (tt) => {
      const name = `${vm}-now`;
      tt.after(async () => await removeDomain(name));
      const guest = libvirtGuest(original.hypervisor, { name, folder });
      const begun = await holdfast<Job>('boot', vm, '--as', name, '--no-wait');
      await until(begun.id, ({ properties }) => properties['State']?.startsWith('Moving') === true);
      await virsh('destroy', name);
      const waiting = await until(
        begun.id,
        ({ properties }) => properties['State']?.startsWith('Shut down') === true,
      );
      assert.match(waiting.properties['Last error']!, /VmNotRunning/);
      await virsh('start', name);
      const done = await until(begun.id, ({ status }) => status !== 'InProgress');
      assert.match(done.status, /^Completed/, JSON.stringify(done));
      assert.equal(done.properties['Last error'], undefined);
      await serving.stop();
      const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
      await startWriting(guest, last);
      const written = await moreRecords(guest, 3);
      assert.ok(!(await virsh('dumpxml', name)).includes('nbd'));
      await virsh('destroy', name);
      await untilOff(name);
      const images = done.properties['Restored Files']!.split(', ');
      for (const image of images) {
        assert.ok(existsSync(image));
        assert.ok(!(await tool('qemu-img', 'info', image)).includes('backing file'));
      }
      const system = images.find((image) => image.includes('osdisk'))!;
      assert.ok((await recordsIn(await rawCopy(system))) >= written);
    },
  );
});
