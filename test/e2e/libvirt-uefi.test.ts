/** A VM of libvirt with secure boot and a TPM, as new ones are made: `firmware='efi'`, and a real swtpm. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { VmDefinition } from '#hypervisor';
import {
  defineXml,
  domainXml,
  emptyDisk,
  libvirt,
  libvirtFolder,
  removeDomain,
  virsh,
} from './libvirt-guest.ts';

const FEATURES = ['secure-boot', 'enrolled-keys'].map(
  (name) => `<feature enabled='yes' name='${name}'/>`,
);
const TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";

function filesOf({ files }: VmDefinition): (readonly [string, Buffer])[] {
  return files.map(({ role, content }) => [role, content]);
}

test('variables and TPM of a VM with secure boot are in its definition, running and off, and go to a new VM', async (t) => {
  const hypervisor = await libvirt();
  const folder = await libvirtFolder(t);
  const disk = await emptyDisk(folder, { name: 'a', format: 'qcow2', size: '8M' });
  const name = `test-${folder.slice(-6)}`;
  const xml = (await domainXml(name, { folder, disks: [disk] }))
    .replace('<os>', "<os firmware='efi'>")
    .replace(/<kernel>[^]*<\/cmdline>/, `<firmware>${FEATURES.join('')}</firmware>`)
    .replace('<acpi/>', "<acpi/><smm state='on'/>")
    .replace('</devices>', `${TPM}</devices>`);
  await defineXml(folder, xml);
  t.after(async () => {
    const variables = `/var/lib/libvirt/qemu/nvram/${name}_VARS.fd`;
    await removeDomain(name);
    await rm(variables, { force: true });
  });
  await virsh('start', name);
  const running = await hypervisor.definition(name);
  assert.equal(running.vm.firmware, 'uefi');
  assert.deepEqual(
    running.files.map(({ role }) => role),
    ['uefi-variables', 'tpm-state'],
  );
  await virsh('destroy', name);
  const definition = await hypervisor.definition(name);
  assert.deepEqual(
    definition.files.map(({ role, path }) => [role, path]),
    running.files.map(({ role, path }) => [role, path]),
  );

  const copy = `${name}-copy`;
  t.after(async () => await removeDomain(copy));
  const directory = join(folder, 'copy');
  await hypervisor.creation.define({
    definition,
    name: copy,
    identity: 'new',
    networks: 'none',
    disks: [{ name: 'vda', path: disk.path, format: 'qcow2' }],
    directory,
  });
  const copied = await hypervisor.definition(copy);
  assert.deepEqual(filesOf(copied), filesOf(definition));
  assert.equal(copied.files[0]!.path, join(directory, `${copy}_VARS.fd`));
  await virsh('start', copy);
  await virsh('destroy', copy);
});
