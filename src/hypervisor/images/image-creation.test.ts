import assert from 'node:assert/strict';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError, type ErrorCode } from '#base';
import type { Hypervisor } from '../hypervisor.ts';
import { clock, createImage, holdAsVm, imageFolder, MIB } from '../offline/testing/images.ts';
import type { DefineRequest } from '../vm-creation.ts';
import type { VmDefinition } from '../vm.ts';
import { connectImages } from './connect-images.ts';

const UUID = '0fb3ca4a-6e5b-4ef0-9c39-2f0fd4a2f2c2';
const DEFINITION: VmDefinition = {
  hypervisor: 'libvirt',
  vm: {
    name: 'web',
    uuid: UUID,
    state: 'off',
    disks: [],
    firmware: 'uefi',
    networkCards: [],
    hasAgentChannel: true,
  },
  files: [{ role: 'uefi-variables', path: '/var/x/web_VARS.fd', content: Buffer.from('vars') }],
};

async function world(t: TestContext): Promise<{ folder: string; hypervisor: Hypervisor }> {
  const folder = await imageFolder(t);
  return { folder, hypervisor: await connectImages({ folder, clock }) };
}

/** As a restore does: the images are there before. */
async function requestOf(
  directory: string,
  options: Partial<DefineRequest> & { readonly name: string },
): Promise<DefineRequest> {
  await mkdir(directory, { recursive: true });
  const path = await createImage(
    join(directory, `${options.name.replaceAll('/', '_')}-osdisk.qcow2`),
    4 * MIB,
  );
  return {
    definition: DEFINITION,
    identity: 'same',
    networks: 'same',
    directory,
    disks: [{ name: 'vda', path, format: 'qcow2' }],
    ...options,
  };
}

const has =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isHoldfastError(error, code);

test('a VM of another hypervisor becomes a folder with its disks, a vm.json, its UEFI variables', async (t) => {
  const { folder, hypervisor } = await world(t);
  await hypervisor.creation.define(await requestOf(join(folder, 'web'), { name: 'web' }));
  const vm = await hypervisor.find('web');
  assert.deepEqual([vm.uuid, vm.firmware, vm.state], [UUID, 'uefi', 'off']);
  assert.deepEqual(
    vm.disks.map(({ name, format }) => [name, format]),
    [['vda', 'qcow2']],
  );
  const { files } = await hypervisor.definition('web');
  assert.deepEqual(
    files.map(({ content }) => content.toString()),
    ['vars'],
  );
  assert.deepEqual((await readdir(join(folder, 'web'))).toSorted(), [
    'vm.json',
    'web-osdisk.qcow2',
    'web_VARS.fd',
  ]);
});

test('a copy has no UUID; its disks may lie anywhere, and are no VMs by themselves', async (t) => {
  const { folder, hypervisor } = await world(t);
  const elsewhere = await imageFolder(t);
  await hypervisor.creation.define(await requestOf(elsewhere, { name: '../a/b', identity: 'new' }));
  await hypervisor.creation.define(await requestOf(folder, { name: 'web' }));
  assert.deepEqual((await hypervisor.list()).map(({ name }) => name).toSorted(), ['../a/b', 'web']);
  assert.equal((await hypervisor.find('../a/b')).uuid, undefined);
  assert.equal((await hypervisor.find('../a/b')).disks[0]!.refusal, undefined);
});

test('a VM that is there already is not replaced', async (t) => {
  const { folder, hypervisor } = await world(t);
  const first = await requestOf(join(folder, 'web'), { name: 'web' });
  await hypervisor.creation.define(first);
  const before = await readFile(join(folder, 'web', 'vm.json'), 'utf8');
  await assert.rejects(hypervisor.creation.define(first), has('VmExists'));
  await createImage(join(folder, 'db.qcow2'), 4 * MIB);
  const second = await requestOf(join(folder, 'new'), { name: 'db' });
  await assert.rejects(hypervisor.creation.define(second), has('VmExists'));
  assert.equal(await readFile(join(folder, 'web', 'vm.json'), 'utf8'), before);
});

test('nothing is started, and no disk that is being served is taken', async (t) => {
  const { folder, hypervisor } = await world(t);
  const { creation } = hypervisor;
  const request = await requestOf(join(folder, 'web'), { name: 'web' });
  const backing = { socketPath: '/x', exportName: '' };
  const served = { ...request, disks: request.disks.map((disk) => ({ ...disk, backing })) };
  await assert.rejects(creation.define(served), has('DefinitionUnsupported'));
  await creation.define(request);
  await assert.rejects(creation.start('web'), /cannot be started: a folder of images runs no VMs/);
  await assert.rejects(creation.moveToImage('web', 'vda', {}), has('DefinitionUnsupported'));
  await creation.powerOff('web');
  for (const call of ['start', 'powerOff', 'undefine'] as const) {
    await assert.rejects(creation[call]('nobody'), has('VmNotFound'));
  }
});

test('a VM that is forgotten leaves its images, and may be made again', async (t) => {
  const { folder, hypervisor } = await world(t);
  const request = await requestOf(join(folder, 'web'), { name: 'web' });
  await hypervisor.creation.define(request);
  await hypervisor.creation.undefine('web');
  assert.deepEqual(await hypervisor.list(), []);
  assert.ok((await readdir(join(folder, 'web'))).includes('web-osdisk.qcow2'));
  await hypervisor.creation.define(request);
  assert.equal((await hypervisor.list()).length, 1);
});

test('disks are replaced by name while the VM is off; the old images stay', async (t) => {
  const { folder, hypervisor } = await world(t);
  const { creation } = hypervisor;
  const old = await requestOf(join(folder, 'web'), { name: 'web' });
  await creation.define(old);
  const path = await createImage(join(folder, 'web', 'restored.raw'), 4 * MIB, 'raw');
  const disks = [{ name: 'vda', path, format: 'raw' as const }];
  const { stop } = await holdAsVm(t, { path: old.disks[0]!.path, format: 'qcow2' });
  await assert.rejects(creation.replaceDisks('web', disks), has('VmNotShutDown'));
  await assert.rejects(creation.powerOff('web'), has('DefinitionUnsupported'));
  await stop();
  const stranger = [{ ...disks[0]!, name: 'vdz' }];
  await assert.rejects(creation.replaceDisks('web', stranger), has('DiskNotFound'));
  await creation.replaceDisks('web', disks);
  const vm = await hypervisor.find('web');
  assert.deepEqual(
    vm.disks.map(({ location, format }) => [location, format]),
    [[path, 'raw']],
  );
  assert.equal(vm.uuid, UUID);
  assert.ok((await readdir(join(folder, 'web'))).includes('web-osdisk.qcow2'));
});

test('disks of a folder without vm.json are replaced too; a lone image has none to replace', async (t) => {
  const { folder, hypervisor } = await world(t);
  await mkdir(join(folder, 'web'));
  await createImage(join(folder, 'web', 'vda.qcow2'), 4 * MIB);
  await createImage(join(folder, 'web', 'vdb.qcow2'), 4 * MIB);
  await createImage(join(folder, 'lone.qcow2'), 4 * MIB);
  const path = await createImage(join(folder, 'web', 'new.qcow2.restored'), 4 * MIB);
  const disks = [{ name: 'vdb', path, format: 'qcow2' as const }];
  await hypervisor.creation.replaceDisks('web', disks);
  assert.deepEqual(
    (await hypervisor.find('web')).disks.map(({ name, refusal }) => [name, refusal]),
    [
      ['vda', undefined],
      ['vdb', undefined],
    ],
  );
  await assert.rejects(hypervisor.creation.replaceDisks('lone', disks), /folder of its own/);
  await assert.rejects(hypervisor.creation.undefine('lone'), has('DefinitionUnsupported'));
});
