/**
 * A VM of libvirt that was booted from a point goes on after its Holdfast was killed while it was served, and
 * again while it was moved: its records are all there, and neither its definition nor its image needs us.
 */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fail, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { killedAt } from './killed-boot.ts';
import {
  libvirtFolder,
  libvirtGuest,
  removeDomain,
  startLibvirtGuest,
  systemDisk,
  tool,
  untilOff,
  virsh,
} from './libvirt-guest.ts';
import { moreRecords, recordsIn, startWriting } from './records.ts';
import { rawCopy } from './vm-source.ts';

withoutPasswords();

test('a killed boot under libvirt goes on where it was, and lacks no record', async (t) => {
  const folder = await libvirtFolder(t);
  const repository = join(folder, 'repository');
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const disks = [await systemDisk(folder)];
  const original = await startLibvirtGuest(t, { folder, disks });
  await startWriting(original);
  await moreRecords(original, 5);
  const repo = ['--repo', repository, '--no-encryption'];
  await succeed(['vm', 'backup', original.name, ...repo]);
  await original.kill();
  const name = `${original.name}-now`;
  t.after(async () => await removeDomain(name));
  const directory = join(folder, 'now');
  const guest = libvirtGuest(original.hypervisor, { name, folder });
  const as = ['--as', name, '--dir', directory, '--network', 'none'];
  await killedAt(['vm', 'boot', original.name, ...repo, ...as], /copied while it runs/);
  const resuming = ['vm', 'boot', '--resume', '--dir', directory, ...repo];
  await killedAt(resuming, /copied while it runs/);
  const { stdout } = await succeed([...resuming, '--json']);
  assert.equal((JSON.parse(stdout) as { vm: { name: string } }).vm.name, name);
  const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
  await startWriting(guest, last);
  const written = await moreRecords(guest, 5);
  for (const kind of [[], ['--inactive']]) {
    const xml = await virsh('dumpxml', name, ...kind);
    assert.ok(!xml.includes('nbd'), xml);
  }
  assert.doesNotMatch(await virsh('dumpxml', name, '--inactive'), /error_policy/);
  const names = await readdir(directory);
  assert.deepEqual(
    names.filter((file) => /nbd|holdfast/.test(file)),
    [],
  );
  await fail(resuming, { code: 1, says: /BootNotFound/ });
  await virsh('destroy', name);
  await untilOff(name);
  const image = join(
    directory,
    names.find((file) => file.endsWith('.qcow2'))!,
  );
  assert.ok(!(await tool('qemu-img', 'info', image)).includes('backing file'));
  assert.ok((await recordsIn(await rawCopy(image))) >= written);
});
