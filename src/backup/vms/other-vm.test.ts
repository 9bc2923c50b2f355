import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Vm } from '#hypervisor';
import { oddities, type NewestPoint } from './other-vm.ts';

const A = '6c1e2c2e-0f1e-4d9c-8a55-000000000001';
const B = '6c1e2c2e-0f1e-4d9c-8a55-000000000002';

function vm(options: { uuid?: string; disks?: readonly string[]; folder?: string } = {}): Vm {
  const { uuid, disks = ['vda', 'vdb'], folder = '/srv' } = options;
  return {
    name: 'web',
    ...(uuid === undefined ? {} : { uuid }),
    state: 'off',
    disks: disks.map((name) => ({
      name,
      sizeBytes: 4096,
      format: 'qcow2',
      location: `${folder}/${name}.qcow2`,
    })),
    firmware: 'bios',
    networkCards: [],
    hasAgentChannel: false,
  };
}

function newest(
  of: Vm,
  kind: 'qemu' | 'libvirt' | 'images',
  more: { safetyBefore?: string } = {},
): NewestPoint {
  const definition = { hypervisor: kind, vm: of, files: [] };
  return {
    point: '70',
    disks: of.disks.map(({ name }) => name),
    note: { definition, disks: [], excluded: [], ...more },
  };
}

test('nothing is said of the same VM, of the first point, and of new disks', () => {
  const now = { vm: vm({ uuid: A }), kind: 'libvirt', item: 'web' } as const;
  assert.deepEqual(oddities(undefined, now), []);
  assert.deepEqual(oddities(newest(vm({ uuid: A }), 'libvirt'), now), []);
  assert.deepEqual(oddities(newest(vm({ uuid: A, disks: ['vda'] }), 'libvirt'), now), []);
  assert.deepEqual(oddities(newest(vm({ folder: '/old' }), 'libvirt'), now), []);
});

test('another UUID, another hypervisor, other disks, images elsewhere: the way out is named', () => {
  const of = (kind: 'qemu' | 'libvirt' | 'images', now: Vm) => ({ vm: now, kind, item: 'web' });
  const cases = [
    [newest(vm({ uuid: A }), 'libvirt'), of('libvirt', vm({ uuid: B })), /UUID is .*1, and .*2;/],
    [newest(vm({ uuid: A }), 'libvirt'), of('images', vm()), /from libvirt, .* folder of images/],
    [newest(vm(), 'qemu'), of('qemu', vm({ disks: ['sda'] })), /vda, vdb, and web has sda/],
    [newest(vm(), 'images'), of('images', vm({ folder: '/b' })), /images were \/srv\/vda.qcow2/],
  ] as const;
  for (const [point, now, says] of cases) {
    const [text, ...more] = oddities(point, now);
    assert.match(text!, says);
    assert.match(text!, /point 70 of the item web.*--item OTHER/);
    assert.deepEqual(more, []);
  }
});

test('a disk that the VM has no more is told; images that a restore replaced are no other VM', () => {
  const now = { vm: vm({ disks: ['vda'] }), kind: 'qemu', item: 'web' } as const;
  assert.deepEqual(oddities(newest(vm(), 'qemu'), now), [
    'vdb of the newest point 70 is not in web any more: only points up to that one have it',
  ]);
  const replaced = { vm: vm({ folder: '/new' }), kind: 'images', item: 'web' } as const;
  assert.deepEqual(oddities(newest(vm(), 'images', { safetyBefore: '69' }), replaced), []);
});

test('a point of disks without a VM, or one that cannot be read, is judged by its disks alone', () => {
  const now = { vm: vm({ uuid: A }), kind: 'libvirt', item: 'web' } as const;
  assert.deepEqual(oddities({ point: '70', disks: ['vda', 'vdb'], note: undefined }, now), []);
  const [text] = oddities({ point: '70', disks: ['root'], note: undefined }, now);
  assert.match(text!, /has the disks root/);
});
