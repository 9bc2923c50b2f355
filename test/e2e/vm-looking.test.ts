/** Whose VMs `holdfast vm list` and `vm show` show: those of libvirt on this machine, where no service is known. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fail, json, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { defineXml, domainXml, emptyDisk, libvirtFolder, removeDomain } from './libvirt-guest.ts';

withoutPasswords();

test('without --connect: libvirt of this machine where no service is known, and nothing else where one is', async (t) => {
  const folder = await libvirtFolder(t);
  const name = `looked-at-${process.pid}`;
  const disk = await emptyDisk(folder, { name: 'vda', format: 'qcow2', size: '8M' });
  await defineXml(folder, await domainXml(name, { folder, disks: [disk] }));
  t.after(async () => await removeDomain(name));
  const nowhere = { HOME: folder, XDG_STATE_HOME: '', HOLDFAST_DATA: '', HOLDFAST_URL: '' };

  await t.test('vm list and vm show find its VM', async () => {
    const { vms } = await json<{ vms: { name: string }[] }>(['vm', 'list'], { variables: nowhere });
    assert.ok(vms.some((vm) => vm.name === name));
    const { stdout } = await succeed(['vm', 'list'], { variables: nowhere });
    assert.match(stdout, /VMs? at qemu:\/\/\/system\.\n$/);
    const shown = await succeed(['vm', 'show', name], { variables: nowhere });
    assert.match(shown.stdout, new RegExp(`^${name}: off`));
  });

  await t.test(
    'a service that is named and is not there is an error, with the way out',
    async () => {
      const none = join(folder, 'none');
      const expected = { code: 1, says: /no data folder.*--connect qemu:\/\/\/system/ } as const;
      for (const command of [['list'], ['show', name]]) {
        await fail(['vm', ...command, '--data', none], expected, { variables: nowhere });
        await fail(['vm', ...command], expected, {
          variables: { ...nowhere, HOLDFAST_DATA: none },
        });
      }
      const given = ['--connect', 'qemu:///system', '--data', none];
      await succeed(['vm', 'show', name, ...given], { variables: nowhere });
    },
  );

  await t.test('a disk whose image is missing is marked', async () => {
    await rm(disk.path);
    const { stdout } = await succeed(['vm', 'list'], { variables: nowhere });
    assert.match(stdout, new RegExp(`^${name} +off +vda \\(image missing\\)`, 'm'));
  });
});
