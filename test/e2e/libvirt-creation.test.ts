/** VMs made of definitions by a real libvirtd: a copy beside its original, on a served point, with other disks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError, realClock, type ErrorCode } from '#base';
import type { DefineRequest } from '#hypervisor';
import { connectLibvirt } from '../../src/hypervisor/libvirt/connect-libvirt.ts';
import {
  defineXml,
  domainXml,
  emptyDisk,
  libvirt,
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

async function isRefused(refused: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(refused, (error) => {
    assert.ok(isHoldfastError(error, code), String(error));
    return true;
  });
}

/** Serves an image read-only, as a recovery point is served; ended by the test. */
async function serve(t: TestContext, image: string, socket: string): Promise<() => Promise<void>> {
  const args = ['-r', '-t', '-e', '8', '-f', 'qcow2', '-x', 'point', '-k', socket, image];
  const server = spawn('qemu-nbd', args, { stdio: 'inherit' });
  const ended = new Promise((resolve) => server.once('close', resolve));
  const end = async (): Promise<void> => {
    server.kill('SIGTERM');
    await ended;
  };
  t.after(end);
  for (let tries = 0; ; tries += 1) {
    const isThere = await tool('nbdinfo', '--size', `nbd+unix:///point?socket=${socket}`).then(
      () => true,
      () => false,
    );
    if (isThere) return end;
    assert.ok(tries < 100, 'qemu-nbd does not start');
    await sleep(50);
  }
}

await test('a VM defined from a definition runs beside the one that it is a copy of', async (t) => {
  const folder = await libvirtFolder(t);
  const original = await systemDisk(folder);
  const extra = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '8M' });
  const guest = await startLibvirtGuest(t, { folder, disks: [original, extra] });
  const { hypervisor, name } = guest;
  const definition = await hypervisor.definition(name);
  const path = join(folder, 'restored.raw');
  await tool('qemu-img', 'convert', '-U', '-O', 'raw', original.path, path);
  const copyName = `${name}-copy`;
  t.after(async () => await removeDomain(copyName));
  const request: DefineRequest = {
    definition,
    name: copyName,
    identity: 'new',
    networks: 'none',
    disks: [{ name: 'vda', path, format: 'raw' }],
    directory: join(folder, 'copy'),
  };
  await hypervisor.creation.define(request);
  await isRefused(hypervisor.creation.define(request), 'VmExists');
  await isRefused(
    hypervisor.creation.define({ ...request, name: 'third', identity: 'same' }),
    'VmExists',
  );
  const defined = await hypervisor.find(copyName);
  assert.equal(defined.state, 'off');
  assert.notEqual(defined.uuid, definition.vm.uuid);
  assert.deepEqual(
    defined.disks.map((disk) => [disk.name, disk.location, disk.format]),
    [['vda', path, 'raw']],
  );
  await hypervisor.creation.start(copyName);
  const copy = libvirtGuest(hypervisor, { name: copyName, folder });
  assert.match(await copy.sh('ls /data'), /lost\+found/);
  assert.equal((await guest.sh('echo here')).trim(), 'here');
  await hypervisor.creation.powerOff(copyName);
  await hypervisor.creation.powerOff(copyName);
  await hypervisor.creation.undefine(copyName);
  await isRefused(hypervisor.find(copyName), 'VmNotFound');
  await readFile(path);
});

await test('disks are replaced while the VM is off, and the old images stay', async (t) => {
  const folder = await libvirtFolder(t);
  const disks = [await systemDisk(folder)];
  const guest = await startLibvirtGuest(t, { folder, disks });
  const { creation } = guest.hypervisor;
  const path = join(folder, 'other.qcow2');
  await copyFile(disks[0]!.path, path);
  const other = [{ name: 'vda', path, format: 'qcow2' as const }];
  await isRefused(creation.replaceDisks(guest.name, other), 'VmNotShutDown');
  await creation.powerOff(guest.name);
  await untilOff(guest.name);
  await isRefused(
    creation.replaceDisks(guest.name, [{ ...other[0]!, name: 'vdz' }]),
    'DiskNotFound',
  );
  await virsh('start', guest.name);
  await virsh('managedsave', guest.name);
  const saved = await guest.hypervisor.find(guest.name);
  assert.deepEqual([saved.state, saved.hasSavedMemory], ['off', true]);
  await isRefused(creation.replaceDisks(guest.name, other), 'VmNotShutDown');
  await virsh('managedsave-remove', guest.name);
  assert.equal((await guest.hypervisor.find(guest.name)).hasSavedMemory, undefined);
  await creation.replaceDisks(guest.name, other);
  assert.equal((await guest.hypervisor.find(guest.name)).disks[0]!.location, path);
  await creation.start(guest.name);
  assert.match(await guest.sh('ls /data'), /lost\+found/);
  await readFile(disks[0]!.path);
});

await test('a VM boots from a served point, and moves to its own image while it writes', async (t) => {
  const folder = await libvirtFolder(t);
  const original = await systemDisk(folder);
  const name = `test-${folder.slice(-6)}`;
  await defineXml(folder, await domainXml(name, { folder, disks: [original] }));
  t.after(async () => await removeDomain(name));
  const hypervisor = await libvirt();
  const definition = await hypervisor.definition(name);
  const socketPath = join(folder, 'point.sock');
  const endServer = await serve(t, original.path, socketPath);
  const path = join(folder, 'overlay.qcow2');
  const uri = `nbd+unix:///point?socket=${socketPath}`;
  await tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', uri, path);
  const copyName = `${name}-boot`;
  t.after(async () => await removeDomain(copyName));
  await hypervisor.creation.define({
    definition,
    name: copyName,
    identity: 'new',
    networks: 'same',
    disks: [{ name: 'vda', path, format: 'qcow2', backing: { socketPath, exportName: 'point' } }],
    directory: folder,
  });
  await hypervisor.creation.start(copyName);
  const guest = libvirtGuest(hypervisor, { name: copyName, folder });
  await guest.sh('tg-writer >/dev/null 2>&1 </dev/null &');
  const stop = new AbortController();
  stop.abort();
  await isRefused(
    hypervisor.creation.moveToImage(copyName, 'vda', { signal: stop.signal }),
    'Cancelled',
  );
  const phases = new Set<string>();
  await hypervisor.creation.moveToImage(copyName, 'vda', {
    onProgress: ({ phase }) => phases.add(phase),
  });
  await hypervisor.creation.moveToImage(copyName, 'vda', {});
  await endServer();
  const hashes =
    'echo 3 >/proc/sys/vm/drop_caches; cat /data/w.b; find /data -type f | xargs md5sum | wc -l';
  const [written, files] = (await guest.sh(hashes)).trim().split('\n').map(Number);
  assert.ok(written! > 0 && files! > 3, 'the guest reads all its files without the server');
  const info = await tool('qemu-img', 'info', '-U', path);
  assert.ok(!info.includes('backing file'), info);
});

await test('UEFI variables and the state of a TPM go with a definition to their new places', async (t) => {
  const folder = await libvirtFolder(t);
  const disk = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '8M' });
  const name = `test-${folder.slice(-6)}`;
  const nvram = join(folder, 'vars.fd');
  const loader = join(folder, 'code.fd');
  await writeFile(loader, 'code');
  await writeFile(nvram, 'variables of the original');
  const xml = (await domainXml(name, { folder, disks: [disk] }))
    .replace(
      /<kernel>[^]*<\/cmdline>/,
      `<loader readonly='yes' type='pflash'>${loader}</loader><nvram>${nvram}</nvram>`,
    )
    .replace(
      '</devices>',
      "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>",
    );
  await defineXml(folder, xml);
  t.after(async () => await removeDomain(name));
  const tpmStateRoot = join(folder, 'swtpm');
  await libvirt();
  const hypervisor = await connectLibvirt({ uri: URI, clock: realClock(), tpmStateRoot });
  const uuid = (await virsh('domuuid', name)).trim();
  await mkdir(join(tpmStateRoot, uuid, 'tpm2'), { recursive: true });
  await writeFile(join(tpmStateRoot, uuid, 'tpm2', 'tpm2-00.permall'), 'state');
  await writeFile(join(tpmStateRoot, uuid, 'tpm2', '.lock'), '');

  const definition = await hypervisor.definition(name);
  assert.equal(definition.vm.firmware, 'uefi');
  assert.deepEqual(
    definition.files.map(({ role, path, content }) => [role, path, content.toString()]),
    [
      ['uefi-variables', nvram, 'variables of the original'],
      ['tpm-state', 'tpm2/tpm2-00.permall', 'state'],
    ],
  );
  await removeDomain(name);
  await rm(join(tpmStateRoot, uuid), { recursive: true });
  const directory = join(folder, 'new');
  await hypervisor.creation.define({
    definition,
    name,
    identity: 'same',
    networks: 'same',
    disks: [{ name: 'vda', path: disk.path, format: 'qcow2' }],
    directory,
  });
  assert.equal((await virsh('domuuid', name)).trim(), uuid);
  const restored = await hypervisor.definition(name);
  assert.deepEqual(
    restored.files.map(({ path, content }) => [path, content.toString()]),
    [
      [join(directory, `${name}_VARS.fd`), 'variables of the original'],
      ['tpm2/tpm2-00.permall', 'state'],
    ],
  );
});

await test('a VM that is off: its disks are told, and one whose image is gone is refused while the others are not', async (t) => {
  const folder = await libvirtFolder(t);
  const there = await emptyDisk(folder, { name: 'a', format: 'qcow2', size: '8M' });
  const gone = { path: join(folder, 'gone.qcow2'), format: 'qcow2' as const };
  const name = `test-${folder.slice(-6)}`;
  const xml = await domainXml(name, { folder, disks: [there, gone] });
  const cdrom = `<disk type='file' device='cdrom'><source file='${folder}/gone.iso'/><target dev='sda' bus='sata'/><readonly/></disk>`;
  await defineXml(folder, xml.replace('<serial type', `${cdrom}<serial type`));
  t.after(async () => await removeDomain(name));
  const hypervisor = await libvirt();
  const listed = (await hypervisor.list()).find((vm) => vm.name === name);
  assert.equal(listed?.state, 'off');
  assert.deepEqual(
    listed.disks.map((disk) => [disk.name, disk.sizeBytes, disk.refusal === undefined]),
    [
      ['vda', 8 * 1024 * 1024, true],
      ['vdb', 0, false],
    ],
  );
  assert.match(listed.disks[1]!.refusal!, /gone\.qcow2/);
  assert.equal(await hypervisor.agent(name), undefined);
});
