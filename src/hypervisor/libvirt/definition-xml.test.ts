import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import type { DefineRequest, NewVmDisk } from '../vm-creation.ts';
import { newDomainXml, withErrorPolicies, withOtherDisks } from './definition-xml.ts';
import { readDomain } from './domain-xml.ts';

const LAB = resolve(import.meta.dirname, '../../../test/lab/libvirt/dom.xml');
const UUID = '11111111-2222-4333-8444-555555555555';

const XML = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>old</name><uuid>${UUID}</uuid><genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid>
  <metadata><app:x xmlns:app='urn:app'>kept &lt;as it is&gt;</app:x></metadata>
  <os firmware='efi'><type>hvm</type><nvram template='/t.fd'>/old.fd</nvram></os>
  <sysinfo type='smbios'><system><entry name='uuid'>${UUID}</entry><entry name='serial'>s</entry></system></sysinfo>
  <devices>
    <disk type='network' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source protocol='rbd' name='a'/><backingStore type='file'><source file='/b'/></backingStore><target dev='vda' bus='virtio'/><boot order='1'/></disk>
    <disk type='file' device='disk'><source file='/two'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/gone.iso'/><target dev='sda'/><readonly/></disk>
    <disk type='file' device='cdrom'><source file='/here.iso'/><target dev='sdb'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default' portid='x'/><target dev='vnet3'/><model type='virtio'/></interface>
    <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>
    <hostdev mode='subsystem' type='pci'/>
    <serial type='file'><source path='/log/console.log'/></serial>
    <channel type='unix'><source mode='bind' path='/old/agent'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
  <qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>
</domain>`;

const HOST = { networks: new Set(['lan']), fileExists: (path: string) => path === '/here.iso' };

function request(changes: Partial<DefineRequest>): DefineRequest {
  const facts = readDomain(XML);
  const vm = {
    name: 'old',
    state: 'off' as const,
    disks: [],
    firmware: facts.firmware,
    networkCards: facts.networkCards,
    hasAgentChannel: true,
  };
  return {
    definition: { hypervisor: 'libvirt', vm, domainXml: XML, files: [] },
    name: 'new',
    identity: 'new',
    networks: 'same',
    disks: [{ name: 'vda', path: '/n/a.raw', format: 'raw' }],
    directory: '/n',
    ...changes,
  };
}

function made(changes: Partial<DefineRequest>, nvramPath?: string): string {
  return newDomainXml(XML, request(changes), { host: HOST, nvramPath });
}

test('a copy has a name and ids of its own, and nothing that only one VM can have', () => {
  const xml = made({}, '/n/new_VARS.fd');
  const facts = readDomain(xml);
  assert.equal(facts.name, 'new');
  assert.ok(!xml.includes(UUID) && !xml.includes('43dc0cf8') && !xml.includes('52:54:00'));
  assert.ok(!xml.includes('hostdev') && !xml.includes('/old/agent'));
  assert.match(xml, /<entry name="serial">s</);
  assert.match(xml, /path="\/n\/console\.log"/);
  assert.equal(facts.nvramPath, '/n/new_VARS.fd');
  assert.match(xml, /template="\/t\.fd"/);
  assert.ok(facts.hasAgentChannel);
});

test('what is not known stays as it was: metadata, other namespaces, escapes', () => {
  for (const xml of [made({}), made({ identity: 'same' }), withOtherDisks(XML, [])]) {
    assert.match(xml, /xmlns:app="urn:app">kept &lt;as it is&gt;</);
    assert.match(xml, /<qemu:arg value="-foo"\/>/);
    assert.match(xml, /<boot order="1"\/>/);
  }
});

test('the same identity keeps UUID, MAC addresses and devices', () => {
  const xml = made({ identity: 'same' });
  assert.ok(xml.includes(UUID) && xml.includes('52:54:00:00:00:01') && xml.includes('hostdev'));
});

test('named disks get their images, others go; absent media are ejected', () => {
  const xml = made({ disks: [{ name: 'vda', path: '/n/a & b.raw', format: 'raw' }] });
  const { disks } = readDomain(xml);
  assert.deepEqual(
    disks.map(({ name, format, source }) => [name, format, source]),
    [['vda', 'raw', { kind: 'path', path: '/n/a & b.raw', isBlockDevice: false }]],
  );
  assert.match(xml, /cache="none"/);
  assert.ok(!xml.includes('rbd') && !xml.includes('backingStore') && !xml.includes('/gone.iso'));
  assert.ok(xml.includes('/here.iso') && xml.includes('dev="sda"'));
});

test('an overlay names the served point that it reads from', async () => {
  const disk: NewVmDisk = {
    name: 'vda',
    path: '/n/o.qcow2',
    format: 'qcow2',
    backing: { socketPath: '/run/s', exportName: 'vda' },
  };
  const xml = withOtherDisks(await readFile(LAB, 'utf8'), [disk]);
  assert.match(
    xml,
    /<source file="\/n\/o.qcow2"\/><backingStore type="network"><format type="raw"\/><source protocol="nbd" name="vda"><host transport="unix" socket="\/run\/s"\/><\/source><backingStore\/><\/backingStore><target dev="vda"/,
  );
  assert.ok(xml.includes('second.raw'), 'the other disk stays');
  // Without its server the guest pauses, and gets no error.
  assert.match(xml, /<driver name="qemu"[^>]* error_policy="stop" rerror_policy="stop"\/>/);
  assert.equal(xml.match(/rerror_policy/g)?.length, 1);
  assert.throws(() => withOtherDisks(XML, [{ ...disk, name: 'vdz' }]), { code: 'DiskNotFound' });
  // Moved, it does at errors what the original does.
  const original = await readFile(LAB, 'utf8');
  assert.ok(!original.includes('error_policy'));
  assert.ok(!withErrorPolicies(xml, original).includes('error_policy'));
  const reporting = xml.replace('error_policy="stop"', 'error_policy="report"');
  assert.match(withErrorPolicies(xml, reporting), / error_policy="report" rerror_policy="stop"\/>/);
});

test('cards are plugged as asked: as before, nowhere, or each by its MAC address', () => {
  const networks = (xml: string): unknown =>
    readDomain(xml.replaceAll('<interface', '<interface x="1"')).networkCards.map(
      ({ mac, network }) => [mac, network],
    );
  assert.deepEqual(networks(made({ identity: 'same' })), [
    ['52:54:00:00:00:01', 'default'],
    ['52:54:00:00:00:02', 'br0'],
  ]);
  assert.deepEqual(networks(made({ networks: 'none' })), []);
  const map = new Map([
    ['52:54:00:00:00:01', 'br7'],
    ['52:54:00:00:00:02', 'lan'],
  ]);
  const xml = made({ identity: 'same', networks: map });
  assert.deepEqual(networks(xml), [
    ['52:54:00:00:00:01', 'br7'],
    ['52:54:00:00:00:02', 'lan'],
  ]);
  assert.match(xml, /<interface type="bridge"><mac[^>]*><source bridge="br7"\/><model/);
  assert.match(xml, /<source network="lan"\/>/);
  assert.ok(!xml.includes('vnet3') && !xml.includes('portid'));
  const fresh = made({ networks: new Map([['52:54:00:00:00:02', 'lan']]) });
  assert.equal(fresh.match(/<interface /g)?.length, 1);
  assert.ok(!fresh.includes('52:54:00'));
});
