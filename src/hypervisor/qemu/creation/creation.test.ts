/** VMs defined, started and ended by a real QEMU, which has nothing to boot. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { realClock } from '#base';
import type { Hypervisor } from '../../hypervisor.ts';
import type { VmDefinition, VmDisk } from '../../vm.ts';
import type { DefineRequest, NewVmDisk } from '../../vm-creation.ts';
import { connectQemu } from '../connect-qemu.ts';

const MACHINE = '-nodefaults -accel tcg -machine q35 -m 16 -display none';

class Place {
  readonly folder: string;
  readonly notes: string[] = [];
  readonly #connections: Hypervisor[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(t: TestContext): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'hf-')));
    t.after(async () => {
      // Where a test fails, they would keep the socket from whoever ends the VM.
      for (const hypervisor of place.#connections) await hypervisor.close();
      for (const name of ['new', 'second']) await place.end(name);
      await rm(place.folder, { recursive: true });
    });
    return place;
  }

  async connect(): Promise<Hypervisor> {
    const { folder } = this;
    const uri = `qmp:${join(folder, 'qmp.sock')},agent=${join(folder, 'qga.sock')}`;
    const hypervisor = await connectQemu({ uri, clock: realClock(), random: randomBytes });
    this.#connections.push(hypervisor);
    return hypervisor;
  }

  async image(name: string, format: NewVmDisk['format'] = 'qcow2'): Promise<NewVmDisk> {
    const path = join(this.folder, `${name}.${format}`);
    await promisify(execFile)('qemu-img', ['create', '-q', '-f', format, path, '1M']);
    return { name, path, format };
  }

  request(definition: VmDefinition, more: Partial<DefineRequest> = {}): DefineRequest {
    return {
      definition,
      name: 'new',
      identity: 'new',
      networks: 'same',
      disks: [],
      directory: this.folder,
      warn: (message) => this.notes.push(message),
      ...more,
    };
  }

  async end(name: string): Promise<void> {
    const hypervisor = await this.connect();
    await hypervisor.creation.powerOff(name).catch((error: { code?: string }) => {
      assert.equal(error.code, 'VmNotFound');
    });
    await hypervisor.close();
  }
}

function definitionOf(line: string, disks: readonly VmDisk[] = []): VmDefinition {
  return {
    hypervisor: 'qemu',
    vm: {
      name: 'old',
      uuid: '9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11',
      state: 'running',
      disks,
      firmware: 'bios',
      networkCards: [],
      hasAgentChannel: true,
    },
    commandLine: ['qemu-system-x86_64', ...line.split(' ')],
    files: [],
  };
}

function oldDisk(name: string): VmDisk {
  return { name, sizeBytes: 1 << 20, format: 'qcow2', location: `/old/${name}` };
}

test('QEMU takes every form of a disk, shows it by its name, and outlives us', async (t) => {
  const place = await Place.make(t);
  const line = `${MACHINE} -device virtio-scsi-pci,id=s \
-drive file=/old/a,format=raw,if=none,id=x,cache=none -device virtio-blk-pci,drive=x,id=vd0 \
-drive file=/old/v,if=virtio -hda /old/ide \
-blockdev driver=throttle,node-name=t,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=/old/x -object throttle-group,id=g -device scsi-hd,bus=s.0,drive=t,id=sd0 \
-blockdev {"driver":"file","filename":"/old/f","node-name":"f"} -blockdev {"driver":"raw","node-name":"n","discard":"unmap","file":"f"} -device virtio-blk-pci,drive=n \
-cdrom /nowhere.iso -chardev socket,path=/old/qga,server=on,wait=off,id=ga -device virtio-serial-pci -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0 \
-netdev user,id=u,hostfwd=tcp:127.0.0.1:1-:1 -device e1000,netdev=u,romfile= -qmp unix:/old/q,server=on -chardev stdio,id=c -serial chardev:c -device vmgenid,guid=auto`;
  const names = ['vd0', 'virtio0', 'ide0-hd0', 'sd0', 'n', 'hot'];
  const disks = await Promise.all(
    names.map(async (name, at) => await place.image(name, at % 2 === 0 ? 'qcow2' : 'raw')),
  );
  const first = await place.connect();
  assert.deepEqual(await first.list(), []);
  const definition = definitionOf(line, names.map(oldDisk));
  await first.creation.define(place.request(definition, { disks }));
  assert.equal((await first.find('new')).state, 'off');
  await first.creation.start('new');
  await first.creation.start('new');
  await first.close();

  const second = await place.connect();
  const vm = await second.find('new');
  assert.equal(vm.state, 'running');
  const shown = vm.disks.map(({ name, location, format }) => ({ name, path: location, format }));
  assert.deepEqual(new Set(shown), new Set(disks));
  assert.notEqual(vm.uuid, definition.vm.uuid);
  assert.ok(vm.hasAgentChannel);
  await assert.rejects(second.creation.replaceDisks('new', disks), { code: 'VmNotShutDown' });
  const again = await second.definition('new');
  assert.deepEqual(again.commandLine?.includes('guest=new'), true);
  await second.creation.powerOff('new');
  await second.close();
  const third = await place.connect();
  assert.equal((await third.find('new')).state, 'off');
  await third.creation.powerOff('new');
  await third.creation.undefine('new');
  const left = (await readdir(place.folder)).toSorted();
  assert.deepEqual(left, disks.map(({ path }) => path.split('/').at(-1)!).toSorted());
});

test('a VM that is off gets other images, by the names of its disks only', async (t) => {
  const place = await Place.make(t);
  const hypervisor = await place.connect();
  const { creation } = hypervisor;
  const line = `${MACHINE} -drive file=/old/a,if=none,id=x -device virtio-blk-pci,drive=x,id=vd0`;
  const disks = [await place.image('vd0')];
  await creation.define(place.request(definitionOf(line, [oldDisk('vd0')]), { disks }));
  const other = { ...(await place.image('other', 'raw')), name: 'vd0' };
  await creation.replaceDisks('new', [other]);
  assert.equal((await hypervisor.find('new')).disks[0]?.location, other.path);
  const strange = [{ ...other, name: 'vd7' }];
  await assert.rejects(creation.replaceDisks('new', strange), { code: 'DiskNotFound' });
  await assert.rejects(creation.replaceDisks('old', [other]), { code: 'VmNotFound' });
  await creation.start('new');
  const running = await place.connect();
  const [disk] = (await running.find('new')).disks;
  assert.deepEqual([disk?.location, disk?.format], [other.path, 'raw']);
  await running.creation.powerOff('new');
});

test('a name that is taken is refused; beside a VM that runs, the new one has its own sockets', async (t) => {
  const place = await Place.make(t);
  const first = await place.connect();
  const definition = definitionOf(MACHINE);
  await first.creation.define(place.request(definition, { identity: 'same' }));
  const refused = { code: 'VmExists' };
  await assert.rejects(first.creation.define(place.request(definition)), refused);
  await first.creation.start('new');
  const beside = await place.connect();
  const again = { ...place.request(await beside.definition('new')), name: 'second' };
  await assert.rejects(beside.creation.define({ ...again, name: 'new' }), refused);
  await beside.creation.define(again);
  assert.match(place.notes.join(), /another VM's: second is at qmp:.*second-qmp.sock/);
  await beside.creation.start('second');
  const path = join(place.folder, 'second-qmp.sock');
  const second = await connectQemu({ uri: `qmp:${path}`, clock: realClock(), random: randomBytes });
  assert.equal((await second.find('second')).state, 'running');
  await second.creation.powerOff('second');
  await second.close();
  assert.equal((await beside.find('new')).state, 'running');
  await beside.creation.powerOff('new');
  await beside.close();
});

test('an emulated TPM is started with the state of the point', async (t) => {
  const place = await Place.make(t);
  const line = `${MACHINE} -chardev socket,id=t,path=/old/t.sock -tpmdev emulator,id=tpm0,chardev=t -device tpm-tis,tpmdev=tpm0`;
  const { creation } = await place.connect();
  await creation.define(place.request(definitionOf(line)));
  assert.match(place.notes.join(), /no state of its TPM/);
  await creation.start('new');
  const running = await place.connect();
  const { files } = await running.definition('new');
  assert.ok(files.some(({ role, path }) => role === 'tpm-state' && path.startsWith('tpm2-00')));
  await running.creation.powerOff('new');
  const off = await place.connect();
  const definition = await off.definition('new');
  await off.creation.undefine('new');
  await off.creation.define(place.request(definition));
  const [state] = definition.files;
  assert.deepEqual(await readFile(join(place.folder, 'new-tpm', state!.path)), state!.content);
});

test('what is wrong is said before or in QEMU’s own words, and nothing is left', async (t) => {
  const place = await Place.make(t);
  const { creation } = await place.connect();
  const define = async (line: string, more: Partial<DefineRequest> = {}): Promise<void> =>
    await creation.define(place.request(definitionOf(line), more));
  await assert.rejects(define('-readconfig /x'), { code: 'DefinitionUnsupported' });
  const uefi = '-drive if=pflash,format=raw,unit=1,file=/old/VARS.fd';
  await assert.rejects(define(uefi), { code: 'DefinitionUnsupported', message: /UEFI/ });
  const libvirt = { ...definitionOf(''), hypervisor: 'libvirt' as const };
  await assert.rejects(creation.define(place.request(libvirt)), { code: 'DefinitionUnsupported' });
  const name = 'n'.repeat(120);
  const agent =
    '-chardev socket,id=g,path=/q,server=on -device virtserialport,chardev=g,name=org.qemu.guest_agent.0';
  const far = await connectQemu({
    uri: `qmp:${join(place.folder, 'q')}`,
    clock: realClock(),
    random: randomBytes,
  });
  const long = place.request(definitionOf(agent), { name });
  await assert.rejects(far.creation.define(long), { code: 'ArgumentInvalid', message: /too long/ });
  assert.deepEqual(await readdir(place.folder), []);

  await define('-device no-such-device');
  await assert.rejects(creation.start('new'), {
    code: 'HypervisorFailed',
    message: /no-such-device/,
  });
  await creation.undefine('new');
  await writeFile(join(place.folder, 'new-VARS.fd'), '');
  const content = Buffer.alloc(1);
  const withFile = {
    ...definitionOf(uefi),
    files: [{ role: 'uefi-variables' as const, path: '', content }],
  };
  await assert.rejects(creation.define(place.request(withFile)), { code: 'OutputExists' });
  await assert.rejects(creation.start('new'), { code: 'VmNotFound' });
  assert.equal((await stat(join(place.folder, 'new-VARS.fd'))).size, 0);
});

test('a socket elsewhere than the images leads to its VM all the same', async (t) => {
  const place = await Place.make(t);
  const directory = join(place.folder, 'vm');
  const hypervisor = await place.connect();
  const { creation } = hypervisor;
  await creation.define(place.request(definitionOf(MACHINE), { directory }));
  await creation.start('new');
  const running = await place.connect();
  await running.creation.powerOff('new');
  await running.close();
  const later = await place.connect();
  assert.equal((await later.find('new')).state, 'off');
  assert.equal((await hypervisor.find('new')).state, 'off');
  await later.creation.undefine('new');
  assert.deepEqual(await readdir(place.folder), ['vm']);
  assert.deepEqual(await readdir(directory), []);
});

test('an overlay takes in what it still reads; cancelled before, it does not', async (t) => {
  const place = await Place.make(t);
  const base = await place.image('base', 'raw');
  await writeFile(base.path, randomBytes(1 << 20));
  const names = ['virtio0', 'n', 't'];
  const overlays = names.map((name): NewVmDisk => {
    return { name, path: join(place.folder, `${name}.over`), format: 'qcow2' };
  });
  for (const { path } of overlays) {
    const backing = ['-b', base.path, '-F', 'raw', path];
    await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing]);
  }
  const line = `${MACHINE} -drive file=/old/v,if=virtio \
-blockdev driver=qcow2,node-name=n,file.driver=file,file.filename=/old/n -device virtio-blk-pci,drive=n,id=n \
-object throttle-group,id=g -blockdev driver=throttle,node-name=f,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=/old/t -device virtio-blk-pci,drive=f,id=t`;
  const { creation } = await place.connect();
  await creation.define(place.request(definitionOf(line, names.map(oldDisk)), { disks: overlays }));
  await creation.start('new');
  const signal = AbortSignal.abort();
  await assert.rejects(creation.moveToImage('new', 'n', { signal }), { code: 'Cancelled' });
  await assert.rejects(creation.moveToImage('new', 'x', {}), { code: 'DiskNotFound' });
  for (const name of names) {
    await creation.moveToImage('new', name, {});
    await creation.moveToImage('new', name, {});
  }
  await creation.powerOff('new');
  for (const { path } of overlays) {
    const { stdout } = await promisify(execFile)('qemu-img', ['info', '--output=json', path]);
    assert.equal((JSON.parse(stdout) as Record<string, unknown>)['backing-filename'], undefined);
    await promisify(execFile)('qemu-img', ['compare', '-F', 'raw', path, base.path]);
  }
});

test('where the host gives no KVM, and QEMU wants it, what to do is said', async (t) => {
  const place = await Place.make(t);
  const program = join(place.folder, 'qemu-without-kvm');
  const words = 'Could not access KVM kernel module: Permission denied';
  await writeFile(program, `#!/bin/sh\necho "${words}" >&2\nexit 1\n`, { mode: 0o755 });
  const { creation } = await place.connect();
  const definition = { ...definitionOf(''), commandLine: [program, '-accel', 'kvm'] };
  await creation.define(place.request(definition));
  const says = /Could not access KVM.*asks for KVM, which this host does not give/;
  await assert.rejects(creation.start('new'), { code: 'HypervisorFailed', message: says });
});
