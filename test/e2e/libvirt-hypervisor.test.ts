/**
 * Backups of VMs of a real libvirtd: full and by checkpoint, bit for bit under a writing guest, through everything
 * that may go wrong with VM, libvirt or Holdfast in between.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  defineXml,
  domainXml,
  emptyDisk,
  libvirt,
  libvirtFolder,
  startLibvirtGuest,
  systemDisk,
  tool,
  virsh,
} from './libvirt-guest.ts';
import {
  applyDirty,
  checkpoints,
  copies,
  isRefused,
  killedBackup,
  nameOf,
  Points,
  REPOSITORY,
  startWriters,
  takeFull,
  trackingOf,
} from './libvirt-points.ts';

await test('four disks under a writing guest: a full, then increments equal to the full image, byte for byte', async (t) => {
  const folder = await libvirtFolder(t);
  const disks = [
    await systemDisk(folder),
    await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' }),
    await emptyDisk(folder, { name: 'c', format: 'raw', size: '32M' }),
    await emptyDisk(folder, { name: 'd', format: 'qcow2', size: '48M' }),
  ];
  const guest = await startLibvirtGuest(t, { folder, disks });
  await startWriters(guest, ['vdb', 'vdc', 'vdd']);
  const points = new Points();
  const scratch = join(folder, 'scratch');
  const full = await points.prepare(guest, scratch);
  assert.deepEqual(trackingOf(full), {
    vda: 'initial',
    vdb: 'initial',
    vdc: 'initial',
    vdd: 'initial',
  });
  const first = await full.snapshot();
  const before = await copies(first, folder, 'full');
  const again = await copies(first, folder, 'again');
  for (const [name, path] of before) {
    assert.ok((await readFile(path)).equals(await readFile(again.get(name)!)), `${name} moved`);
  }
  await first.release('committed');
  points.commit(full);

  for (const round of ['second', 'third']) {
    const increment = await points.prepare(guest, scratch);
    const tracking = trackingOf(increment);
    assert.deepEqual([tracking['vda'], tracking['vdb'], tracking['vdd']], Array(3).fill('bitmap'));
    assert.match(tracking['vdc']!, /raw images keep no bitmaps/);
    const snapshot = await increment.snapshot();
    const now = await copies(snapshot, folder, round);
    await applyDirty(snapshot, before, now);
    for (const name of ['vda', 'vdb', 'vdd']) {
      const same = (await readFile(before.get(name)!)).equals(await readFile(now.get(name)!));
      assert.ok(same, `${name} of the ${round} point`);
    }
    const dirty = (await snapshot.disks()).find(({ name }) => name === 'vdb')!.dirty!;
    assert.ok(dirty.length > 0, 'the guest wrote');
    await snapshot.release('committed');
    points.commit(increment);
    assert.deepEqual(await checkpoints(guest), [nameOf(increment.point)]);
  }
  assert.deepEqual(await readdir(scratch), []);
  assert.deepEqual(points.warnings, []);
});

await test('a failed backup leaves the old point to count from; another product keeps its checkpoint', async (t) => {
  const folder = await libvirtFolder(t);
  const disk = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' });
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder), disk] });
  const points = new Points();
  const base = await takeFull(points, guest);
  await virsh('checkpoint-create-as', guest.name, 'virtnbdbackup.0', '--diskspec', 'vdb');
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=3 conv=fsync');
  const failing = await points.prepare(guest, join(folder, 's'));
  await (await failing.snapshot()).release('failed');
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=7 conv=fsync');
  assert.deepEqual((await checkpoints(guest)).toSorted(), [nameOf(base), 'virtnbdbackup.0']);

  const prepared = await points.prepare(guest, join(folder, 's'), ['vdb']);
  assert.deepEqual(prepared.disks[0]!.tracking, { kind: 'bitmap', base });
  const snapshot = await prepared.snapshot();
  assert.deepEqual(
    (await snapshot.disks())[0]!.dirty?.map(({ offset }) => offset / 65_536),
    [3, 7],
  );
  await snapshot.release('committed');
  points.commit(prepared);
  // vda was left out: what counts for it stays.
  assert.deepEqual((await checkpoints(guest)).toSorted(), [
    nameOf(base),
    nameOf(prepared.point),
    'virtnbdbackup.0',
  ]);
  await takeFull(points, guest);
  assert.equal((await checkpoints(guest)).length, 2);
  assert.ok((await checkpoints(guest)).includes('virtnbdbackup.0'));
});

await test('QEMU killed: the broken bitmap is not believed and goes, and the backup after that counts again', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const points = new Points();
  await takeFull(points, guest);
  const reading = await points.prepare(guest, join(folder, 's'));
  assert.equal(reading.disks[0]!.tracking.kind, 'bitmap');
  const snapshot = await reading.snapshot();
  await guest.kill();
  await isRefused(snapshot.lost, 'HypervisorFailed', /ended by itself/);
  await snapshot.release('failed');
  await virsh('start', guest.name);

  const prepared = await points.prepare(guest, join(folder, 's'));
  assert.equal(prepared.disks[0]!.tracking.kind, 'compare');
  assert.match(points.warnings.join('\n'), /broken: QEMU or the host was killed/);
  await (await prepared.snapshot()).release('committed');
  points.commit(prepared);
  assert.deepEqual(await checkpoints(guest), [nameOf(prepared.point)]);
  const next = await points.prepare(guest, join(folder, 's'));
  assert.equal(next.disks[0]!.tracking.kind, 'bitmap');
  await next.close();
  await next.close();
});

await test('a VM defined anew, backed up while off, and resized: what counts is what lies in the image', async (t) => {
  const folder = await libvirtFolder(t);
  const disk = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' });
  const disks = [await systemDisk(folder), disk];
  const guest = await startLibvirtGuest(t, { folder, disks });
  const points = new Points();
  const base = await takeFull(points, guest);
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=5 conv=fsync');
  await virsh('destroy', guest.name);
  await virsh('undefine', guest.name, '--checkpoints-metadata');
  await defineXml(folder, await domainXml(guest.name, { folder, disks }));
  await virsh('start', guest.name);
  const adopted = await points.prepare(guest, join(folder, 's'));
  assert.deepEqual(adopted.disks[1]!.tracking, { kind: 'bitmap', base });
  const snapshot = await adopted.snapshot();
  assert.deepEqual((await snapshot.disks())[1]!.dirty, [{ offset: 5 * 65_536, length: 65_536 }]);
  await snapshot.release('committed');
  points.commit(adopted);

  await virsh('destroy', guest.name);
  const off = await points.prepare(guest, join(folder, 's'));
  assert.equal(off.vm.state, 'off');
  assert.deepEqual(off.disks[1]!.tracking, { kind: 'bitmap', base: adopted.point });
  await (await off.snapshot()).release('committed');
  points.commit(off);
  await virsh('start', guest.name);
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=9 conv=fsync');
  const online = await points.prepare(guest, join(folder, 's'));
  assert.deepEqual(online.disks[1]!.tracking, { kind: 'bitmap', base: off.point });
  const last = await online.snapshot();
  assert.deepEqual((await last.disks())[1]!.dirty, [{ offset: 9 * 65_536, length: 65_536 }]);
  await last.release('committed');
  points.commit(online);
  assert.deepEqual(await checkpoints(guest), [nameOf(online.point)]);

  await virsh('blockresize', guest.name, 'vdb', '40M');
  const resized = await points.prepare(guest, join(folder, 's'));
  const { tracking } = resized.disks[1]!;
  assert.ok(tracking.kind === 'compare');
  assert.match(tracking.reason, /resized from 33554432 to 41943040/);
  assert.equal(resized.disks[0]!.tracking.kind, 'bitmap');
  await resized.close();
});

await test('a killed Holdfast: its job is ended, its checkpoint goes, and the increment counts on; a live one is not disturbed', async (t) => {
  const folder = await libvirtFolder(t);
  const disk = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' });
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder), disk] });
  const points = new Points();
  const base = await takeFull(points, guest);
  const scratch = join(folder, 's');
  const live = await points.prepare(guest, scratch);
  const held = await live.snapshot();
  await isRefused(points.prepare(guest, scratch), 'VmBusy', /another backup by Holdfast/);
  await held.release('failed');

  await killedBackup(points, guest, scratch);
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=2 conv=fsync');
  assert.equal((await checkpoints(guest)).length, 2);

  const prepared = await points.prepare(guest, scratch);
  assert.deepEqual(await checkpoints(guest), [nameOf(base)]);
  assert.match(points.warnings.join('\n'), /ended the backup job/);
  assert.deepEqual(prepared.disks[1]!.tracking, { kind: 'bitmap', base });
  const snapshot = await prepared.snapshot();
  assert.deepEqual((await snapshot.disks())[1]!.dirty, [{ offset: 2 * 65_536, length: 65_536 }]);
  await snapshot.release('committed');
  assert.deepEqual(await readdir(scratch), []);
});

await test('two items of one repository: what a killed backup of one left goes, and both checkpoints count on', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const web = new Points();
  const copy = web.otherItem();
  const bases = [await takeFull(web, guest), await takeFull(copy, guest)];
  const scratch = join(folder, 's');
  await killedBackup(copy, guest, scratch);
  assert.equal((await checkpoints(guest)).length, 3);
  for (const [at, item] of [web, copy].entries()) {
    const prepared = await item.prepare(guest, scratch);
    assert.deepEqual((await checkpoints(guest)).toSorted(), bases.map(nameOf).toSorted());
    assert.deepEqual(prepared.disks[0]!.tracking, { kind: 'bitmap', base: bases[at] });
    await prepared.close();
  }
});

await test('scratch that runs low ends the backup and never the guest; too little to begin with is refused', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const scratch = await mkdtemp('/tmp/holdfast-lv-');
  await tool('mount', '-t', 'tmpfs', '-o', 'size=300M', 'none', scratch);
  t.after(async () => {
    await tool('umount', '-l', scratch);
    await rm(scratch, { recursive: true });
  });
  const points = new Points();
  const prepared = await points.prepare(guest, scratch);
  const snapshot = await prepared.snapshot();
  await tool('fallocate', '-l', '250M', join(scratch, 'filler'));
  await isRefused(snapshot.lost, 'StoreFull', /the backup was ended before the guest/);
  await snapshot.release('failed');
  assert.equal((await virsh('domstate', guest.name)).trim(), 'running');
  assert.deepEqual(await checkpoints(guest), []);
  await isRefused(points.prepare(guest, scratch), 'StoreFull', /needs 256 MiB/);
  assert.equal((await guest.sh('echo alive')).trim(), 'alive');
});

await test('what libvirt says of VMs: found and not found, busy, refused disks, cancelled', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const { hypervisor, name } = guest;
  const vm = await hypervisor.find(name);
  assert.equal(vm.state, 'running');
  assert.deepEqual(vm.disks, [
    {
      name: 'vda',
      sizeBytes: 256 * 1024 * 1024,
      format: 'qcow2',
      location: join(folder, 'system.qcow2'),
      serial: 'serial-0',
    },
  ]);
  assert.ok((await hypervisor.list()).some((listed) => listed.name === name));
  await isRefused(hypervisor.find('nobody'), 'VmNotFound', new RegExp(name));
  const points = new Points();
  const scratch = join(folder, 's');
  await isRefused(points.prepare(guest, scratch, ['vdx']), 'DiskNotFound', /it has vda/);
  await virsh('blockcopy', name, 'vda', join(folder, 'copy.qcow2'), '--transient-job');
  await isRefused(points.prepare(guest, scratch), 'VmBusy', /block job \(.*\) on vda/);
  await virsh('blockjob', name, 'vda', '--abort');
  await virsh('suspend', name);
  assert.equal((await hypervisor.find(name)).state, 'paused');
  await takeFull(points, guest);
  const aborted = new AbortController();
  aborted.abort();
  const tracking = {
    repositoryId: REPOSITORY,
    point: '100000000000999',
    bases: new Map(),
    otherBases: new Set<string>(),
    blockSize: 16_384,
  };
  await isRefused(
    hypervisor.prepare({
      vm: name,
      tracking,
      scratchDir: scratch,
      signal: aborted.signal,
      warn: () => {},
    }),
    'Cancelled',
    /cancelled/,
  );
  const agent = await hypervisor.agent(name);
  await isRefused(
    agent!.execute('guest-ping', { timeoutMs: 1000 }),
    'AgentUnavailable',
    /did not answer/,
  );
  await agent!.close();
  await virsh('resume', name);
  const awake = await hypervisor.agent(name);
  await guest.sh('true');
  await isRefused(
    awake!.execute('guest-nonsense', { timeoutMs: 5000 }),
    'AgentFailed',
    /has not been found/,
  );
  await awake!.close();
  assert.equal((await libvirt()).uri, 'qemu:///system');
});
