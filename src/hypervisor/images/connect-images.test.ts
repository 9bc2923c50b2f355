import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { openSource, prepareSource } from '#disk';
import type { Hypervisor } from '../hypervisor.ts';
import { REPOSITORY } from '../offline/testing/backups.ts';
import {
  clock,
  createImage,
  holdAsVm,
  imageFolder,
  MIB,
  run,
  writeAsVm,
} from '../offline/testing/images.ts';
import { connectImages } from './connect-images.ts';

/** A folder with these files: `image` makes an image of the extension's format, an object is written as JSON. */
async function folderOf(
  t: TestContext,
  files: Readonly<Record<string, object | string>>,
): Promise<{ readonly folder: string; readonly hypervisor: Hypervisor }> {
  const folder = await imageFolder(t);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(join(path, '..'), { recursive: true });
    const format = /\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? 'raw';
    if (content === 'image') {
      await createImage(path, 4 * MIB, { img: 'raw', vhd: 'vpc' }[format] ?? format);
    } else {
      await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
    }
  }
  return { folder, hypervisor: await connectImages({ folder, clock }) };
}

/** The names of all VMs and of their disks. */
async function namesIn(hypervisor: Hypervisor): Promise<Record<string, string[]>> {
  const vms = await hypervisor.list();
  return Object.fromEntries(vms.map((vm) => [vm.name, vm.disks.map(({ name }) => name)]));
}

const has =
  (code: string, text: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  };

const request = (vm: string): Parameters<Hypervisor['prepare']>[0] => ({
  vm,
  tracking: {
    repositoryId: REPOSITORY,
    point: '100000000000000',
    bases: new Map(),
    otherBases: new Set(),
    blockSize: 16_384,
  },
  scratchDir: '/nonexistent',
  warn: () => {},
});

test('sub-folders with images and lone images are VMs; other files are nothing', async (t) => {
  const { hypervisor } = await folderOf(t, {
    'web server/system.qcow2': 'image',
    'web server/data.img': 'image',
    'web server/notes.txt': 'x',
    'iso/debian.iso': 'x',
    'old.vmdk': 'image',
    'lone.RAW': 'image',
    '.hidden/x.raw': 'image',
    README: 'x',
  });
  assert.deepEqual(await namesIn(hypervisor), {
    'web server': ['data', 'system'],
    lone: ['lone'],
    old: ['old'],
  });
  const { state, disks, firmware, hasAgentChannel } = await hypervisor.find('web server');
  assert.deepEqual([state, firmware, hasAgentChannel], ['off', 'bios', false]);
  assert.deepEqual(
    disks.map(({ format, sizeBytes }) => [format, sizeBytes]),
    [
      ['raw', 4 * MIB],
      ['qcow2', 4 * MIB],
    ],
  );
  assert.equal(await hypervisor.agent('lone'), undefined);
});

test('formats are those of the extension or of vm.json, never of the content', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'a/vhdx.vhdx': 'image',
    'a/vdi.vdi': 'image',
    'a/vhd.vhd': 'image',
    'b/vm.json': { disks: [{ file: 'disk', format: 'qcow2' }] },
    'c/vm.json': { disks: [{ file: 'disk' }] },
    'd/vm.json': { disks: [{ file: 'disk.qcow2', format: 'raw' }] },
  });
  for (const file of ['b/disk', 'c/disk', 'd/disk.qcow2', 'lying.raw']) {
    await createImage(join(folder, file), 4 * MIB);
  }
  const formats = async (vm: string): Promise<string[]> =>
    (await hypervisor.find(vm)).disks.map(({ format }) => format);
  assert.deepEqual(await formats('a'), ['vdi', 'vpc', 'vhdx']);
  assert.deepEqual(await formats('b'), ['qcow2']);
  assert.deepEqual(await formats('d'), ['raw']);
  assert.deepEqual(await formats('lying'), ['raw']);
  const [unclear] = (await hypervisor.find('c')).disks;
  assert.match(unclear!.refusal!, /format .* is not clear/);
  await assert.rejects(hypervisor.prepare(request('c')), has('DiskUnsupported', /not clear/));
});

test('vm.json gives name, order, names of disks, firmware', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'folder/vm.json': {
      name: 'web',
      uuid: '0fb3ca4a-6e5b-4ef0-9c39-2f0fd4a2f2c2',
      uefiVariables: 'web_VARS.fd',
      disks: [
        { name: 'vda', file: 'system.qcow2' },
        { name: 'vdb', file: '../elsewhere/data.img' },
      ],
    },
    'folder/system.qcow2': 'image',
    'folder/unused.qcow2': 'image',
    'folder/web_VARS.fd': 'variables',
    'elsewhere/data.img': 'image',
    'gone/vm.json': { disks: [] },
    'gone/disk.raw': 'image',
  });
  assert.deepEqual(await namesIn(hypervisor), { web: ['vda', 'vdb'] });
  const definition = await hypervisor.definition('web');
  assert.deepEqual(definition.vm, await hypervisor.find('web'));
  assert.deepEqual(
    [definition.vm.firmware, definition.vm.uuid],
    ['uefi', '0fb3ca4a-6e5b-4ef0-9c39-2f0fd4a2f2c2'],
  );
  const path = join(folder, 'folder', 'web_VARS.fd');
  assert.deepEqual(definition.files, [
    { role: 'uefi-variables', path, content: Buffer.from('variables') },
  ]);
  await rm(path);
  await assert.rejects(hypervisor.definition('web'), has('HypervisorFailed', /UEFI variables/));
});

test('a wrong vm.json is refused with what is wrong in it', async (t) => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['{', /is no JSON/],
    ['[]', /no JSON object/],
    ['{"name":1}', /a name that is no text/],
    ['{"disks":{}}', /disks that are no list/],
    ['{"disks":[{}]}', /without "file"/],
    ['{"disks":[{"file":"a","format":1}]}', /no text/],
    ['{"allowedFiles":"x"}', /allowedFiles that are no list/],
    ['{"firmware":"coreboot"}', /neither "bios" nor "uefi"/],
  ];
  const { folder, hypervisor } = await folderOf(t, { 'web/disk.raw': 'image' });
  for (const [text, complaint] of wrong) {
    await writeFile(join(folder, 'web', 'vm.json'), text);
    await assert.rejects(hypervisor.list(), has('ArgumentInvalid', complaint));
  }
});

test('what an image needs is no disk by itself: backing files, extents', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'web/base.qcow2': 'image',
    'template.qcow2': 'image',
    'web/vm.json': { allowedFiles: ['../template.qcow2'] },
  });
  await createImage(join(folder, 'web', 'top.qcow2'), { backing: 'base.qcow2' });
  await createImage(join(folder, 'web', 'data.qcow2'), { backing: '../template.qcow2' });
  await mkdir(join(folder, 'esx'));
  const flat = ['-o', 'subformat=monolithicFlat', join(folder, 'esx', 'disk.vmdk'), '4M'];
  await run('qemu-img', 'create', '-q', '-f', 'vmdk', ...flat);
  assert.deepEqual(await namesIn(hypervisor), { esx: ['disk'], web: ['data', 'top'] });
});

test('a backing file outside of the folder is read with the disk if vm.json names it, else refused', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'template.qcow2': 'image',
    'web/vm.json': { allowedFiles: ['../template.qcow2'] },
  });
  await writeAsVm(join(folder, 'template.qcow2'), 'write -P 9 0 64k');
  await createImage(join(folder, 'web', 'top.qcow2'), { backing: '../template.qcow2' });
  const prepared = await hypervisor.prepare(request('web'));
  const snapshot = await prepared.snapshot();
  const { location, format } = (await snapshot.disks())[0]!;
  const named = format === undefined ? {} : { format };
  const source = await prepareSource({ location, clock, ...named });
  const reader = await openSource(source.spec, { clock });
  const start = Buffer.alloc(4096);
  await reader.read(0, start);
  assert.ok(start.every((byte) => byte === 9));
  await reader.close();
  await source.close();
  await snapshot.release('failed');

  await mkdir(join(folder, 'thief'));
  await createImage(join(folder, 'thief', 'top.qcow2'), { backing: '../web/top.qcow2' });
  const [disk] = (await hypervisor.find('thief')).disks;
  assert.match(disk!.refusal!, /outside its folder.*"allowedFiles" in vm.json/);
  await assert.rejects(hypervisor.prepare(request('thief')), has('DiskUnsupported', /outside/));
});

test('an image that a running VM holds is running, and refused with the way out', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'web/a.qcow2': 'image',
    'web/b.raw': 'image',
    'db.raw': 'image',
  });
  const holders = [
    await holdAsVm(t, { path: join(folder, 'web', 'a.qcow2'), format: 'qcow2' }),
    await holdAsVm(t, { path: join(folder, 'db.raw'), format: 'raw' }),
  ];
  for (const vm of ['web', 'db']) {
    const { state, disks } = await hypervisor.find(vm);
    assert.equal(state, 'running');
    assert.match(disks[0]!.refusal!, /back it up through its hypervisor/);
    assert.equal(disks[0]!.sizeBytes, 4 * MIB);
    await assert.rejects(
      hypervisor.prepare(request(vm)),
      has('DiskInUse', /through its hypervisor/),
    );
  }
  const prepared = await hypervisor.prepare({ ...request('web'), disks: ['b'] });
  await prepared.close();
  for (const { stop } of holders) await stop();
  assert.equal((await hypervisor.find('web')).state, 'off');
});

test('damaged images, dangling links and missing files are refused one by one', async (t) => {
  const { folder, hypervisor } = await folderOf(t, {
    'web/good.qcow2': 'image',
    'web/damaged.qcow2': 'not a qcow2',
    'db/vm.json': { disks: [{ file: 'missing.raw' }] },
  });
  await symlink('/nonexistent', join(folder, 'web', 'dangling.qcow2'));
  const { disks } = await hypervisor.find('web');
  assert.deepEqual(
    disks.map(({ refusal }) => refusal !== undefined),
    [true, true, false],
  );
  await assert.rejects(hypervisor.prepare(request('web')), has('DiskUnsupported', /damaged/));
  const prepared = await hypervisor.prepare({ ...request('web'), disks: ['good'] });
  await prepared.close();
  await assert.rejects(hypervisor.prepare(request('db')), has('DiskNotFound', /missing.raw/));
});

test('one name for two is refused with what to do; an unknown one names what there is', async (t) => {
  const { folder, hypervisor } = await folderOf(t, { 'web/a.raw': 'image', 'db.raw': 'image' });
  await assert.rejects(hypervisor.find('nobody'), has('VmNotFound', /it has web, db/));
  await createImage(join(folder, 'web', 'a.qcow2'), 4 * MIB);
  await assert.rejects(hypervisor.list(), has('ArgumentInvalid', /two disks called a: rename/));
  await rm(join(folder, 'web', 'a.qcow2'));
  await createImage(join(folder, 'web.qcow2'), 4 * MIB);
  await assert.rejects(hypervisor.list(), has('ArgumentInvalid', /two VMs called web: rename/));
  await assert.rejects(
    connectImages({ folder: join(folder, 'none'), clock }),
    has('HypervisorUnavailable', /none/),
  );
  const empty = await connectImages({ folder: await imageFolder(t), clock });
  await assert.rejects(empty.find('web'), has('VmNotFound', /no disk images/));
});
