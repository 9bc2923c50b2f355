import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { readDomain } from './domain-xml.ts';

const LAB = resolve(import.meta.dirname, '../../../test/lab/libvirt');

function domain(devices: string, rest = ''): ReturnType<typeof readDomain> {
  return readDomain(
    `<domain type='kvm' id='3'><name>a &amp; b</name><uuid>11111111-2222-4333-8444-555555555555</uuid>${rest}<devices>${devices}</devices></domain>`,
  );
}

test("the lab's domain: two disks, no cards, an agent's channel, BIOS", async () => {
  const facts = readDomain(await readFile(join(LAB, 'dom.xml'), 'utf8'));
  assert.equal(facts.name, 'tiny1');
  assert.equal(facts.firmware, 'bios');
  assert.deepEqual(facts.size, { cores: 1, memoryBytes: 256 << 20 });
  assert.ok(facts.hasAgentChannel);
  assert.deepEqual(
    facts.disks.map(({ name, format, source, refusal }) => [name, format, source, refusal]),
    [
      [
        'vda',
        'qcow2',
        { kind: 'path', path: '/run/lab/lv/disk.qcow2', isBlockDevice: false },
        undefined,
      ],
      [
        'vdb',
        'raw',
        { kind: 'path', path: '/run/lab/lv/second.raw', isBlockDevice: false },
        undefined,
      ],
    ],
  );
});

test('the size of a domain: CPUs that are plugged in, memory in any unit; what is not told is left out', () => {
  const size = (rest: string) => domain('', rest).size;
  assert.deepEqual(size("<vcpu placement='static' current='2'>8</vcpu><memory>1048576</memory>"), {
    cores: 2,
    memoryBytes: 1024 ** 3,
  });
  assert.deepEqual(size("<vcpu>4</vcpu><memory unit='GB'>2</memory>"), {
    cores: 4,
    memoryBytes: 2_000_000_000,
  });
  assert.deepEqual(size("<memory unit='parsecs'>2</memory>"), {});
});

test('the source of a disk is its top image, not that of its backing', async () => {
  const facts = readDomain(await readFile(join(LAB, 'rdom.xml'), 'utf8'));
  assert.deepEqual(
    facts.disks.map(({ source }) => source),
    [{ kind: 'path', path: '/run/lab/lv/rov.qcow2', isBlockDevice: false }],
  );
});

test('what holds no data of the VM is no disk: CD-ROMs, floppies, read-only disks', () => {
  const { disks, name } = domain(`
    <disk type='file' device='cdrom'><source file='/a.iso'/><target dev='sda'/><readonly/></disk>
    <disk type='file' device='floppy'><target dev='fda'/></disk>
    <disk type='file'><source file='/b.img'/><target dev='vda'/><readonly/></disk>
    <disk type='block'><driver type='raw'/><source dev='/dev/vg/c'/><target dev='vdb'/><serial>s1</serial></disk>`);
  assert.equal(name, 'a & b');
  assert.deepEqual(disks, [
    {
      name: 'vdb',
      format: 'raw',
      source: { kind: 'path', path: '/dev/vg/c', isBlockDevice: true },
      serial: 's1',
      refusal: undefined,
      hasThread: false,
      isEncrypted: false,
    },
  ]);
});

test('disks that cannot be backed up say why, and the way out', () => {
  const { disks } = domain(`
    <disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sda'/></disk>
    <disk type='file'><source file='/s'/><target dev='vda'/><shareable/></disk>
    <disk type='file'><source file='/t'/><target dev='vdb'/><transient/></disk>
    <disk type='nvme'><source type='pci' namespace='1'/><target dev='vdc'/></disk>
    <hostdev mode='subsystem' type='scsi'><alias name='hostdev0'/></hostdev>
    <hostdev mode='subsystem' type='pci'/>`);
  assert.deepEqual(
    disks.map(({ name, refusal }) => [
      name,
      /passes|shared|transient|nvme|passed/.exec(refusal!)?.[0],
    ]),
    [
      ['sda', 'passes'],
      ['vda', 'shared'],
      ['vdb', 'transient'],
      ['vdc', 'nvme'],
      ['hostdev0', 'passed'],
    ],
  );
  assert.ok(disks.every(({ refusal }) => refusal!.includes('inside the guest')));
});

test('volumes and network disks are told by pool and by address', () => {
  const { disks } = domain(`
    <disk type='volume'><driver type='qcow2'/><source pool='p' volume='v'/><target dev='vda'/></disk>
    <disk type='network'><source protocol='rbd' name='pool/img'><host name='ceph' port='6789'/></source><target dev='vdb'/><encryption format='luks'/></disk>
    <disk type='network'><source protocol='nbd' name='e x'><host transport='unix' socket='/run/s'/></source><target dev='vdc'/></disk>`);
  assert.deepEqual(
    disks.map(({ source, isEncrypted }) => [source, isEncrypted]),
    [
      [{ kind: 'volume', pool: 'p', volume: 'v' }, false],
      [{ kind: 'network', protocol: 'rbd', uri: 'rbd://ceph:6789/pool%2Fimg' }, true],
      [{ kind: 'network', protocol: 'nbd', uri: 'nbd+unix:///e%20x?socket=%2Frun%2Fs' }, false],
    ],
  );
});

test('cards, firmware, UEFI variables, TPM and owner', () => {
  const facts = domain(
    `<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model type='virtio'/></interface>
     <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>
     <interface type='user'><mac address='52:54:00:00:00:03'/></interface>
     <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`,
    `<os firmware='efi'><nvram template='/t.fd'>/var/n.fd</nvram></os>
     <seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+108</label></seclabel>`,
  );
  assert.deepEqual(facts.networkCards, [
    { mac: '52:54:00:00:00:01', model: 'virtio', network: 'default' },
    { mac: '52:54:00:00:00:02', network: 'br0' },
    { mac: '52:54:00:00:00:03' },
  ]);
  assert.equal(facts.firmware, 'uefi');
  assert.equal(facts.nvramPath, '/var/n.fd');
  assert.equal(facts.tpmVersion, '2.0');
  assert.deepEqual(facts.owner, { uid: 64_055, gid: 108 });
  assert.ok(!facts.hasAgentChannel);
  const newer = domain(
    '',
    `<os><loader type='pflash'>/c.fd</loader><nvram type='file'><source file='/n2.fd'/></nvram></os>`,
  );
  assert.deepEqual([newer.firmware, newer.nvramPath], ['uefi', '/n2.fd']);
});

test('what is no XML of a domain is an error of the hypervisor', () => {
  for (const text of ['', '<domain>', '<network/>']) {
    assert.throws(() => readDomain(text), { code: 'HypervisorFailed' });
  }
});

test('I/O threads of disks, and of the SCSI controllers that disks are on, are seen', () => {
  const { disks } = readDomain(`<domain><name>x</name><devices>
    <controller type='scsi' index='0'/>
    <controller type='scsi' index='1'><driver iothread='2'/></controller>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' iothread='1'/>
      <source file='/a'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'><iothreads><iothread id='1'/></iothreads></driver>
      <source file='/b'/><target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='disk'><source file='/c'/><target dev='sda' bus='scsi'/>
      <address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>
    <disk type='file' device='disk'><source file='/d'/><target dev='sdb' bus='scsi'/>
      <address type='drive' controller='1' bus='0' target='0' unit='0'/></disk>
    <disk type='file' device='disk'><source file='/e'/><target dev='vdc' bus='virtio'/>
      <address type='drive' controller='1' bus='0' target='0' unit='0'/></disk>
  </devices></domain>`);
  assert.deepEqual(
    disks.map(({ name, hasThread }) => [name, hasThread]),
    [
      ['vda', true],
      ['vdb', true],
      ['sda', false],
      ['sdb', true],
      ['vdc', false],
    ],
  );
});
