/** Command lines in the forms that people, scripts and other products write them, turned into those of new VMs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkCard, Vm, VmDefinition } from '../../vm.ts';
import type { DefineRequest } from '../../vm-creation.ts';
import { formatArguments, parseArguments } from './arguments.ts';
import { restoreErrorPolicies } from './disk-images.ts';
import { spellOutDrives } from './drives.ts';
import { newCommandLine, type NewCommandLine } from './new-command-line.ts';

const MAC = '52:54:00:aa:bb:cc';
let drawn = 0;

type Options = Partial<Omit<DefineRequest, 'definition'>> & {
  readonly vm?: Partial<Vm>;
  readonly notes?: string[];
  readonly program?: string;
};

function disk(name: string, location = `/old/${name}.qcow2`): Vm['disks'][number] {
  return { name, sizeBytes: 1, format: 'qcow2', location };
}

function made(line: string | readonly string[], options: Options = {}): NewCommandLine {
  const words = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line;
  const { vm, notes = [], program = 'qemu-system-x86_64', ...request } = options;
  const disks = request.disks ?? [{ name: 'vd0', path: '/new/a.qcow2', format: 'qcow2' }];
  const definition: VmDefinition = {
    hypervisor: 'qemu',
    vm: {
      name: 'old',
      state: 'running',
      disks: [disk('vd0')],
      firmware: 'bios',
      networkCards: [],
      hasAgentChannel: false,
      ...vm,
    },
    commandLine: [program, ...words],
    files: [],
  };
  return newCommandLine(
    {
      definition,
      name: 'new',
      identity: 'new',
      networks: 'same',
      directory: '/d',
      ...request,
      disks,
    },
    { qmpPath: '/d/qmp.sock', agentPath: '/d/qga.sock' },
    {
      random: (count) => Buffer.alloc(count, (drawn += 1)),
      warn: (message) => notes.push(message),
    },
  );
}

/** The words between the program and what is always added. */
function rest({ words }: NewCommandLine): string {
  return words
    .slice(1)
    .join(' ')
    .replace(' -qmp unix:/d/qmp.sock,server=on,wait=off -pidfile /d/new-qemu.pid -daemonize', '')
    .replace(/^-name guest=new(,debug-threads=on)? /, '')
    .replace(/^-uuid \S+ /, '')
    .replace(/ ?-display none/, '');
}

test('a disk is another image, in every form that there is', () => {
  const node = { 'node-name': 'd', discard: 'unmap' };
  const forms: readonly [string, string, Vm['disks'][number]?][] = [
    [
      '-drive file=/old/vd0.raw,format=raw,if=none,id=x,cache=none,aio=native -device virtio-blk-pci,drive=x,id=vd0',
      '-drive if=none,id=x,cache=none,aio=native,file=/new/a.qcow2,format=qcow2 -device virtio-blk-pci,drive=x,id=vd0',
    ],
    [
      '-drive file=/old/x.qcow2,if=virtio',
      '-drive if=virtio,file=/new/a.qcow2,format=qcow2',
      disk('virtio0'),
    ],
    ['-drive file=/old/x.qcow2', '-drive file=/new/a.qcow2,format=qcow2', disk('ide0-hd0')],
    [
      '-drive driver=qcow2,file.driver=file,file.filename=/old/x,file.locking=off,backing.driver=raw,if=virtio,l2-cache-size=1M',
      '-drive if=virtio,file=/new/a.qcow2,format=qcow2',
      disk('virtio0'),
    ],
    [
      '-hda /old/x.img',
      '-drive index=0,media=disk,file=/new/a.qcow2,format=qcow2',
      disk('ide0-hd0'),
    ],
    ['/old/x.img', '-drive index=0,media=disk,file=/new/a.qcow2,format=qcow2', disk('ide0-hd0')],
    [
      '-blockdev driver=qcow2,node-name=d,discard=unmap,file.driver=file,file.filename=/old/x,,y -device scsi-hd,drive=d,id=vd0',
      '-blockdev driver=qcow2,node-name=d,discard=unmap,file.driver=file,file.filename=/new/a.qcow2 -device scsi-hd,drive=d,id=vd0',
    ],
    [
      `-blockdev ${JSON.stringify({ ...node, driver: 'raw', file: { driver: 'file', filename: '/old/x', aio: 'threads', locking: 'off' } })} -device virtio-blk-pci,drive=d,id=vd0`,
      `-blockdev ${JSON.stringify({ ...node, driver: 'qcow2', file: { driver: 'file', filename: '/new/a.qcow2', aio: 'threads' } })} -device virtio-blk-pci,drive=d,id=vd0`,
    ],
    [
      '-blockdev driver=host_device,filename=/dev/sdx,node-name=d -device virtio-blk-pci,drive=d',
      '-blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=/new/a.qcow2 -device virtio-blk-pci,drive=d',
      disk('d', '/dev/sdx'),
    ],
    [
      `-blockdev {"driver":"file","filename":"/old/x","node-name":"f"} -blockdev {"driver":"qcow2","node-name":"b","file":"f"} -device {"driver":"virtio-blk-pci","drive":"b","id":"vd0"}`,
      `-blockdev {"driver":"qcow2","node-name":"b","file":{"driver":"file","filename":"/new/a.qcow2"}} -device {"driver":"virtio-blk-pci","drive":"b","id":"vd0"}`,
    ],
    [
      '-object throttle-group,id=g -blockdev driver=throttle,node-name=t,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=/old/x -device virtio-blk-pci,drive=t,id=vd0',
      '-object throttle-group,id=g -blockdev driver=throttle,node-name=t,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=/new/a.qcow2 -device virtio-blk-pci,drive=t,id=vd0',
    ],
    [
      '-blockdev driver=qcow2,node-name=base,file.driver=file,file.filename=/old/b -blockdev driver=qcow2,node-name=t,backing=base,file.driver=file,file.filename=/old/x -device ide-hd,drive=t,id=vd0',
      '-blockdev driver=qcow2,node-name=t,file.driver=file,file.filename=/new/a.qcow2 -device ide-hd,drive=t,id=vd0',
    ],
  ];
  for (const [before, after, known = disk('vd0')] of forms) {
    const images = [{ name: known.name, path: '/new/a.qcow2', format: 'qcow2' as const }];
    const result = made(before, { vm: { disks: [known] }, disks: images });
    assert.equal(rest(result), after);
    assert.deepEqual(result.vm.disks, [{ ...known, location: '/new/a.qcow2' }]);
  }
});

test('an overlay on a served point stops the VM where it cannot be read, in every form', () => {
  const stop = 'rerror=stop,werror=stop';
  const forms: readonly [string, string, string][] = [
    [
      '-drive file=/o,if=none,id=x,rerror=report -device virtio-blk-pci,drive=x,id=vd0',
      'vd0',
      `virtio-blk-pci,drive=x,id=vd0,${stop}`,
    ],
    ['-drive file=/o,if=virtio', 'virtio0', `format=qcow2,${stop}`],
    ['-hda /o', 'ide0-hd0', `format=qcow2,${stop}`],
    [
      '-blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=/o -device {"driver":"scsi-hd","drive":"d","id":"vd0"}',
      'vd0',
      '"rerror":"stop","werror":"stop"}',
    ],
    ['', 'hot', `virtio-blk-pci,drive=restored-0,id=hot,${stop}`],
    [
      '-drive file=/o,if=none,id=x -device nvme,drive=x,serial=s,id=vd0',
      'vd0',
      'nvme,drive=x,serial=s,id=vd0',
    ],
  ];
  const backing = { socketPath: '/d/vd0.nbd', exportName: '' };
  for (const [line, name, expected] of forms) {
    const image = { name, path: '/new/a.qcow2', format: 'qcow2' as const };
    const vm = { disks: [disk(name)] };
    const overlay = made(line, { vm, disks: [{ ...image, backing }] });
    assert.ok(rest(overlay).endsWith(expected), line);
    const plain = rest(made(line, { vm, disks: [image] }));
    assert.ok(!plain.includes('stop'), line);
    assert.equal(rest(moved(overlay, { line, disks: vm.disks })), plain);
  }
});

/** As it is defined when its disks are its own. */
function moved(
  overlay: NewCommandLine,
  { line, disks }: { readonly line: string; readonly disks: Vm['disks'] },
): NewCommandLine {
  const [program = '', ...words] = overlay.words;
  const parsed = parseArguments(words);
  const original = spellOutDrives(parseArguments(line.split(' ')));
  restoreErrorPolicies(parsed, original, { disks, program });
  return { ...overlay, words: [program, ...formatArguments(parsed)] };
}

test('QEMU’s own names of drives are found by kind, place and machine', () => {
  const line =
    '-machine q35 -drive file=/o/a -drive file=/o/b,index=2 -drive file=/o/c,if=scsi -drive file=/o/d,if=virtio -drive file=/o/e,if=virtio';
  const names = ['ide0-hd0', 'ide2-hd0', 'scsi0-hd0', 'virtio0', 'virtio1'];
  for (const [at, name] of names.entries()) {
    const images = [{ name, path: '/new/it', format: 'raw' as const }];
    const all = names.map((one) => disk(one, '/elsewhere'));
    const text = rest(made(line, { vm: { disks: all }, disks: images }));
    assert.match(text, /file=\/new\/it/);
    assert.equal(text.split('-drive').length, 2, 'the others are left out');
    assert.doesNotMatch(text, /file=\/o\//, String(at));
  }
});

test('a disk without a known name is found by its file; one plugged in later becomes virtio', () => {
  const notes: string[] = [];
  const moved = made('-drive file=/old/w.img,if=none,id=z -device usb-storage,drive=z', {
    vm: { disks: [disk('strange', '/old/w.img')] },
    disks: [{ name: 'strange', path: '/new/w,x', format: 'raw' }],
  });
  assert.equal(
    rest(moved),
    '-drive if=none,id=z,file=/new/w,,x,format=raw -device usb-storage,drive=z',
  );
  const plugged = made('-m 64', {
    vm: { disks: [{ ...disk('hot'), serial: 'S' }] },
    disks: [{ name: 'hot', path: '/new/h', format: 'qcow2' }],
    notes,
  });
  assert.match(
    rest(plugged),
    /-blockdev \{"node-name":"restored-0","driver":"qcow2".*-device virtio-blk-pci,drive=restored-0,id=hot,serial=S/,
  );
  assert.match(notes.join(), /hot was plugged in/);
});

test('disks that are not restored are left out with their devices; absent media are ejected', () => {
  const line =
    '-drive file=/o/a,if=none,id=a -device virtio-blk-pci,drive=a,id=vd0 -drive file=/o/b,if=none,id=b -device virtio-blk-pci,drive=b,id=vd1 ' +
    '-blockdev driver=raw,node-name=c,file.driver=file,file.filename=/o/c -device virtio-blk-pci,drive=c,id=vd2 ' +
    '-cdrom /nowhere.iso -blockdev driver=raw,node-name=i,file.driver=file,file.filename=/nowhere/2.iso -device ide-cd,drive=i,id=cd';
  const result = made(line, { vm: { disks: [disk('vd0'), disk('vd1'), disk('vd2')] } });
  assert.equal(
    rest(result),
    '-drive if=none,id=a,file=/new/a.qcow2,format=qcow2 -device virtio-blk-pci,drive=a,id=vd0 -drive index=2,media=cdrom -device ide-cd,id=cd',
  );
  assert.deepEqual(
    result.vm.disks.map(({ name }) => name),
    ['vd0'],
  );
});

test('a new identity is a new name, UUID, MAC and generation; the same one keeps all but the name', () => {
  const line =
    '-name guest=old,debug-threads=on -uuid 9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11 -smbios type=1,uuid=9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11,serial=x ' +
    `-device vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87 -netdev user,id=n -device e1000,netdev=n,mac=${MAC}`;
  const vm = { disks: [], uuid: 'x', networkCards: [{ mac: MAC, model: 'e1000' }] };
  const other = made(line, { vm, disks: [] });
  const uuid = other.vm.uuid!;
  assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const text = other.words.join(' ');
  assert.match(text, /-name guest=new,debug-threads=on /);
  assert.ok(text.includes(`-uuid ${uuid} `) && text.includes(`type=1,uuid=${uuid},serial=x`));
  assert.doesNotMatch(text, new RegExp(`9c1b6a50|324e6eaf|${MAC}`));
  const [card] = other.vm.networkCards;
  assert.match(card!.mac, /^52:54:00(:[0-9a-f]{2}){3}$/);
  assert.ok(text.includes(`mac=${card!.mac}`));

  const same = made(line, { vm, disks: [], identity: 'same' });
  assert.match(same.words.join(' '), new RegExp(`-uuid 9c1b6a50.*mac=${MAC}`));
  assert.equal(same.vm.uuid, 'x');
});

test('networks: none, the same, or by MAC address', () => {
  const line = `-netdev tap,id=n,ifname=tap7 -device virtio-net-pci,netdev=n,mac=${MAC} -nic user,model=e1000,mac=52:54:00:00:00:02,hostfwd=tcp::22-:22`;
  const cards: NetworkCard[] = [{ mac: MAC }, { mac: '52:54:00:00:00:02' }];
  const with_ = (more: Options): string =>
    rest(
      made(line, { vm: { disks: [], networkCards: cards }, disks: [], identity: 'same', ...more }),
    );
  assert.equal(with_({}), line);
  assert.equal(with_({ networks: 'none' }), `-device virtio-net-pci,mac=${MAC} -nic none`);
  assert.equal(
    with_({ networks: new Map([[MAC, 'br7']]) }),
    `-netdev bridge,br=br7,id=restored-net0 -device virtio-net-pci,netdev=restored-net0,mac=${MAC} -nic none`,
  );
  assert.equal(
    with_({ networks: new Map([['52:54:00:00:00:02', 'user,restrict=on']]) }),
    `-device virtio-net-pci,mac=${MAC} -nic user,restrict=on,model=e1000,mac=52:54:00:00:00:02`,
  );
  const notes: string[] = [];
  assert.doesNotMatch(with_({ identity: 'new', notes }), /ifname|hostfwd/);
  assert.equal(notes.length, 2);
});

test('sockets, files and ports of the old VM are not the new one’s', () => {
  const line =
    '-qmp unix:/o/qmp.sock,server=on,wait=off -monitor stdio -chardev socket,id=m,path=/o/m,server=on -mon chardev=m,mode=control -pidfile /o/pid -S -snapshot -loadvm x -incoming defer -gdb tcp::1 -D /o/log ' +
    '-chardev socket,path=/o/qga,server,nowait,id=ga -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0 ' +
    '-chardev socket,host=127.0.0.1,port=55,server=on,wait=off,telnet=on,id=c -chardev stdio,mux=on,id=s -chardev file,id=f,path=/o/out -chardev socket,id=v,path=/o/virtiofs ' +
    '-serial unix:/o/tty,server -serial mon:stdio -serial file:/o/ttylog -vnc :3 -object memory-backend-file,id=r,size=64M,mem-path=/dev/shm/old-vm,share=on';
  const notes: string[] = [];
  const result = made(line, { vm: { disks: [] }, disks: [], notes });
  assert.equal(
    rest(result),
    '-chardev socket,id=ga,path=/d/qga.sock,server=on,wait=off -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0 ' +
      '-chardev socket,server=on,id=c,path=/d/new-c.sock,wait=off -chardev null,id=s -chardev file,id=f,path=/d/new-out -chardev socket,id=v,path=/o/virtiofs ' +
      '-serial unix:/d/new-tty,server=on,wait=off -serial null -serial file:/d/new-ttylog -vnc unix:/d/new-vnc.sock -object memory-backend-memfd,id=r,size=64M,share=on',
  );
  assert.equal(result.agentPath, '/d/qga.sock');
  assert.ok(result.vm.hasAgentChannel);
  assert.match(notes.join(), /screen \(vnc\)/);
});

test('UEFI variables and a TPM are its own', () => {
  const drives =
    '-drive if=pflash,format=raw,readonly=on,file=/fw/CODE.fd -drive if=pflash,format=raw,file=/o/VARS.fd';
  const byDrive = made(drives, { vm: { disks: [] }, disks: [] });
  assert.match(rest(byDrive), /file=\/fw\/CODE.fd .*file=\/d\/new-VARS.fd/);
  assert.equal(byDrive.variablesPath, '/d/new-VARS.fd');
  const nodes =
    '-blockdev {"driver":"file","filename":"/fw/CODE.fd","node-name":"p0","read-only":true} -blockdev {"driver":"file","filename":"/o/VARS.fd","node-name":"s1"} -blockdev {"driver":"raw","node-name":"p1","file":"s1"} -machine q35,pflash0=p0,pflash1=p1';
  assert.equal(
    rest(made(nodes, { vm: { disks: [] }, disks: [] })),
    nodes.replace('/o/VARS.fd', '/d/new-VARS.fd'),
  );
  const tpm =
    '-chardev socket,id=t,path=/o/swtpm.sock -tpmdev emulator,id=tpm0,chardev=t -device tpm-tis,tpmdev=tpm0';
  const result = made(tpm, { vm: { disks: [] }, disks: [] });
  assert.equal(rest(result), tpm.replace('/o/swtpm.sock', '/d/new-tpm.sock'));
  assert.equal(result.tpmSocket, '/d/new-tpm.sock');
});

test('what cannot be known is refused', () => {
  for (const line of [
    '-readconfig /o/vm.cfg',
    '-netdev tap,fd=23,id=n',
    '-add-fd fd=3,set=2',
    '-device nvdimm,memdev=m',
  ]) {
    assert.throws(() => made(line, { vm: { disks: [] }, disks: [] }), {
      code: 'DefinitionUnsupported',
    });
  }
});

test('what is not named stays, word for word', () => {
  const line = [
    '-kernel',
    '/k',
    '-append',
    'console=ttyS0 quiet',
    '-m',
    '2G,slots=4',
    '-cpu',
    'host,+x',
    '-display',
    'none',
  ];
  assert.deepEqual(
    made(line, { vm: { disks: [] }, disks: [], identity: 'same' }).words.slice(3, -5),
    line,
  );
});
