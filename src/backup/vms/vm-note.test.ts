import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import type { Vm } from '#hypervisor';
import {
  excludedDisks,
  safetyBeforeOf,
  vmNoteFromJson,
  vmNoteToJson,
  type VmNote,
} from './vm-note.ts';

const vm: Vm = {
  name: 'web',
  uuid: '9d1c4a3e-52fd-4c4a-8d2b-52fd4c4a8d2b',
  state: 'running',
  disks: [
    { name: 'vda', sizeBytes: 1 << 30, format: 'qcow2', location: '/srv/web.qcow2' },
    { name: 'vdb', sizeBytes: 1 << 20, format: 'raw', location: '/srv/data.raw', serial: 'D1' },
  ],
  firmware: 'uefi',
  networkCards: [{ mac: '52:54:00:12:34:56', model: 'virtio', network: 'default' }],
  hasAgentChannel: true,
};
const note: VmNote = {
  definition: {
    hypervisor: 'libvirt',
    vm,
    domainXml: '<domain/>',
    files: [{ role: 'uefi-variables', path: '/var/x.fd', content: Buffer.alloc(540_672, 0xff) }],
  },
  disks: [
    { name: 'vda', format: 'qcow2', tracking: 'bitmap', fingerprint: 'f1', isSuspect: false },
  ],
  excluded: ['vdb'],
};

test('what a manifest keeps of a VM comes back the same through JSON, and small', () => {
  const text = JSON.stringify(vmNoteToJson(note));
  assert.ok(text.length < 4096, `${text.length} characters`);
  assert.deepEqual(vmNoteFromJson(JSON.parse(text)), note);
  assert.equal(safetyBeforeOf(JSON.parse(text)), undefined);
  const guestOs = { family: 'linux', id: 'debian', name: 'Debian 12', kernel: '6.1' } as const;
  const known = vmNoteToJson({ ...note, guestOs });
  assert.deepEqual(vmNoteFromJson(JSON.parse(JSON.stringify(known)))?.guestOs, guestOs);
});

test('a safety point names the point that the VM was then put back to', () => {
  const safety = { ...note, safetyBefore: '123456789012345' };
  const read = JSON.parse(JSON.stringify(vmNoteToJson(safety))) as unknown;
  assert.deepEqual(vmNoteFromJson(read), safety);
  assert.equal(safetyBeforeOf(read), '123456789012345');
  assert.equal(safetyBeforeOf(undefined), undefined);
});

test('a point without a VM has no note', () => {
  assert.equal(vmNoteFromJson(undefined), undefined);
});

test('a note of a newer version is refused', () => {
  assert.throws(
    () => vmNoteFromJson({ ...(vmNoteToJson(note) as object), version: 2 }),
    (error) => isHoldfastError(error, 'FormatUnsupported'),
  );
});

test('a file of the definition that is no small file is refused', () => {
  const content = Buffer.alloc(64 * 1024 * 1024 + 1);
  const files = [{ role: 'tpm-state', path: '/var/tpm', content }] as const;
  assert.throws(
    () => vmNoteToJson({ ...note, definition: { ...note.definition, files } }),
    (error) => isHoldfastError(error, 'ArgumentInvalid') && error.message.includes('/var/tpm'),
  );
});

test('disks that were not chosen are noted as excluded', () => {
  assert.deepEqual(excludedDisks(vm, ['vda']), ['vdb']);
  assert.deepEqual(excludedDisks(vm, ['vda', 'vdb']), []);
});
