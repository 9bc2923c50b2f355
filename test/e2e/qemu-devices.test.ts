/** Every kind of disk device that QEMU has, and what a VM has beside its disks, as QMP tells them. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { BackupHistory } from './backup-history.ts';
import { expectTracking } from './hypervisor.contract.ts';
import { connectTo, tracesIn } from './qemu-subject.ts';
import { guestFolder, startGuest, type TinyGuest } from './tiny-guest.ts';

const MIB = 1 << 20;

async function image(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const format = name.endsWith('.raw') ? 'raw' : 'qcow2';
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', format, path, '16M']);
  return path;
}

/** Writes a pattern as the guest's device would, through its backend. */
async function writeAs(guest: TinyGuest, device: string, pattern: number): Promise<void> {
  const line = `qemu-io -d ${device} "write -P ${pattern} 1M 64k"`;
  const answer = String(await guest.qmp('human-monitor-command', { 'command-line': line }));
  assert.doesNotMatch(answer, /rror/);
}

function historyIn(
  guest: TinyGuest,
  hypervisor: Awaited<ReturnType<typeof connectTo>>,
): BackupHistory {
  return new BackupHistory({
    hypervisor,
    vm: guest.runDir.split('/').at(-1)!,
    scratchDir: join(guest.runDir, 'scratch'),
  });
}

for (const mechanism of ['filter', 'job'] as const) {
  test(`by ${mechanism}: virtio, SCSI, IDE, without id, without format: all are tracked`, async (t) => {
    const runDir = await guestFolder(t);
    const files = await Promise.all(
      ['t.qcow2', 's.qcow2', 'i.qcow2', 'n.qcow2', 'p.raw'].map((name) => image(runDir, name)),
    );
    const guest = await startGuest(t, {
      runDir,
      disks: [await image(runDir, 'a.qcow2')],
      args: [
        '-device',
        'virtio-scsi-pci,id=scsi0',
        ...blockdev(
          't',
          `driver=throttle,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=${files[0]}`,
        ),
        '-object',
        'throttle-group,id=g',
        '-device',
        'virtio-blk-pci,drive=t,id=throttled',
        ...blockdev('s', `driver=qcow2,file.driver=file,file.filename=${files[1]}`),
        '-device',
        'scsi-hd,bus=scsi0.0,drive=s,id=scsi,serial=S1',
        ...blockdev('i', `driver=qcow2,file.driver=file,file.filename=${files[2]}`),
        '-device',
        'ide-hd,bus=ide.0,drive=i,id=ide',
        '-drive',
        `if=virtio,format=qcow2,file=${files[3]}`,
        ...blockdev('p', `driver=file,filename=${files[4]}`),
        '-device',
        'virtio-blk-pci,drive=p,id=plain',
        '-device',
        'ide-cd,bus=ide.1,id=cd',
      ],
    });
    const hypervisor = await connectTo(t, guest, mechanism);
    const [vm] = await hypervisor.list();
    assert.deepEqual(
      vm!.disks.map(({ name, format, location, refusal }) => [name, format, location, refusal]),
      [
        ['ide', 'qcow2', files[2], undefined],
        ['plain', 'raw', files[4], undefined],
        ['scsi', 'qcow2', files[1], undefined],
        ['throttled', 'qcow2', files[0], undefined],
        ['vd0', 'qcow2', join(runDir, 'a.qcow2'), undefined],
        ['virtio0', 'qcow2', files[3], undefined],
      ],
    );
    const history = historyIn(guest, hypervisor);
    expectTracking(await history.take(), 'initial');
    for (const round of [1, 2]) {
      // In the guest vda to vdd are the virtio disks, wherever each is.
      const everywhere =
        'for d in a b c d; do dd if=/dev/urandom of=/dev/vd$d bs=64k count=1 seek=';
      await guest.sh(`${everywhere}${round} conv=notrunc,fsync 2>&1; done`);
      await writeAs(guest, 'scsi', round);
      await writeAs(guest, 'ide', round);
      const taken = await history.take({
        during: async () => {
          await guest.sh(`${everywhere}${round + 4} conv=notrunc,fsync 2>&1; done`);
          await writeAs(guest, 'scsi', round + 4);
        },
      });
      expectTracking(taken, 'bitmap');
      for (const { name, dirty } of taken.values()) assert.notDeepEqual(dirty, [], name);
    }
    assert.deepEqual(history.warnings, []);
    assert.deepEqual((await tracesIn(guest)).others, []);
  });
}

function blockdev(node: string, options: string): string[] {
  return ['-blockdev', `node-name=${node},${options}`];
}

test('disks that cannot be read safely are refused, and the others are backed up', async (t) => {
  const runDir = await guestFolder(t);
  const shared = await image(runDir, 'shared.raw');
  const guest = await startGuest(t, {
    runDir,
    disks: [await image(runDir, 'a.qcow2')],
    args: [
      ...blockdev('s', `driver=raw,file.driver=file,file.filename=${shared},file.locking=off`),
      '-device',
      'virtio-blk-pci,drive=s,id=shared,share-rw=on',
    ],
  });
  const hypervisor = await connectTo(t, guest);
  const history = historyIn(guest, hypervisor);
  const refusals = new Map(
    (await hypervisor.list())[0]!.disks.map((disk) => [disk.name, disk.refusal]),
  );
  assert.match(refusals.get('shared') ?? '', /shared with other VMs/);
  assert.equal(refusals.get('vd0'), undefined);
  await assert.rejects(history.prepare(), { code: 'DiskUnsupported' });
  const rest = new BackupHistory({
    hypervisor,
    vm: runDir.split('/').at(-1)!,
    scratchDir: join(runDir, 'scratch'),
    disks: ['vd0'],
  });
  expectTracking(await rest.take(), 'initial');
});

test('one I/O thread, of a disk or of a SCSI controller, and all disks of the VM are pushed, as one instant', async (t) => {
  const runDir = await guestFolder(t);
  const plain = await image(runDir, 'a.qcow2');
  const scsi = await image(runDir, 'u.qcow2');
  await promisify(execFile)('qemu-io', ['-c', 'write -P 7 1M 64k', scsi]);
  const args = [
    '-object',
    'iothread,id=io0',
    ...blockdev('u', `driver=qcow2,file.driver=file,file.filename=${scsi}`),
    '-device',
    'virtio-scsi-pci,id=scsi0,iothread=io0',
    '-device',
    'scsi-hd,bus=scsi0.0,drive=u,id=scsi',
  ];
  const guest = await startGuest(t, { runDir, disks: [plain], args });
  const hypervisor = await connectTo(t, guest);
  for (const { name, refusal } of (await hypervisor.list())[0]!.disks) {
    assert.equal(refusal, undefined, name);
  }
  const history = historyIn(guest, hypervisor);
  const first = await history.take();
  expectTracking(first, 'initial');
  const expected = Buffer.alloc(16 * MIB);
  expected.fill(7, MIB, MIB + 65_536);
  assert.ok(first.get('scsi')!.content.equals(expected));
  await guest.sh('dd if=/dev/urandom of=/dev/vda bs=64k count=1 seek=5 conv=notrunc,fsync 2>&1');
  const second = await history.take({
    during: async (snapshot) => {
      for (const disk of await snapshot.disks()) assert.equal(disk.format, 'qcow2');
    },
  });
  expectTracking(second, 'bitmap');
  assert.deepEqual(second.get('vd0')!.dirty, [{ offset: 5 * 65_536, length: 65_536 }]);
  assert.deepEqual(second.get('scsi')!.dirty, []);
  await hypervisor.close();

  // A SCSI disk is written where the guest has no driver: by its image, which records it.
  await guest.stop('quit');
  await promisify(execFile)('qemu-io', ['-c', 'write -P 9 3M 64k', scsi]);
  const again = await startGuest(t, { runDir, disks: [plain], args });
  const third = await history.through(await connectTo(t, again)).take();
  expectTracking(third, 'bitmap');
  expected.fill(9, 3 * MIB, 3 * MIB + 65_536);
  assert.ok(third.get('scsi')!.content.equals(expected));
  assert.deepEqual(third.get('scsi')!.dirty, [{ offset: 3 * MIB, length: 65_536 }]);
  assert.deepEqual((await tracesIn(again)).others, []);
});

test('a definition holds the command line, the UEFI variables and the state of the TPM', async (t) => {
  const runDir = await guestFolder(t);
  const code = join(runDir, 'code.fd');
  const variables = join(runDir, 'vars.fd');
  await writeFile(code, Buffer.alloc(4 * MIB));
  await writeFile(variables, randomBytes(4 * MIB));
  const tpm = await startTpm(t, runDir);
  const guest = await startGuest(t, {
    runDir,
    disks: [await image(runDir, 'a.qcow2')],
    paused: true,
    args: [
      '-drive',
      `if=pflash,unit=0,format=raw,readonly=on,file=${code}`,
      '-drive',
      `if=pflash,unit=1,format=raw,file=${variables}`,
      '-chardev',
      `socket,id=tpm,path=${tpm.socket}`,
      '-tpmdev',
      'emulator,id=t0,chardev=tpm',
      '-device',
      'tpm-tis,tpmdev=t0',
    ],
  });
  const hypervisor = await connectTo(t, guest);
  const [vm] = await hypervisor.list();
  assert.equal(vm?.firmware, 'uefi');
  assert.deepEqual(
    vm.disks.map(({ name }) => name),
    ['vd0'],
  );
  const definition = await hypervisor.definition(vm.name);
  const [program, ...rest] = definition.commandLine ?? [];
  assert.match(program ?? '', /qemu-system-x86_64$/);
  assert.ok(rest.includes(`if=pflash,unit=1,format=raw,file=${variables}`));
  const [flash, ...state] = definition.files;
  assert.deepEqual(flash, {
    role: 'uefi-variables',
    path: variables,
    content: await readFile(variables),
  });
  assert.deepEqual(state, [
    {
      role: 'tpm-state',
      path: 'tpm2-00.permall',
      content: await readFile(join(tpm.folder, 'tpm2-00.permall')),
    },
  ]);
});

async function startTpm(
  t: TestContext,
  runDir: string,
): Promise<{ readonly socket: string; readonly folder: string }> {
  const folder = join(runDir, 'tpm-state');
  const socket = join(runDir, 'tpm');
  await mkdir(folder);
  await promisify(execFile)('swtpm_setup', ['--tpm2', '--tpmstate', folder]);
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${folder}`, '--ctrl'];
  const child = spawn('swtpm', [...args, `type=unixio,path=${socket}`], { stdio: 'ignore' });
  t.after(() => child.kill());
  for (let tries = 0; tries < 1000 && !existsSync(socket); tries += 1) await sleep(10);
  assert.ok(existsSync(socket), 'swtpm listens');
  return { socket, folder };
}
