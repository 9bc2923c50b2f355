import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { assertSame, makeLab, noise, patchImage, run, writeImage } from '../testing/lab.ts';

const MIB = 1024 * 1024;

test('disks of any size come back bit for bit', async (t) => {
  const lab = await makeLab(t, 16_384);
  for (const size of [0, 1, 511, 16_383, 16_384, 16_385, 65 * 16_384 + 7, 5 * MIB + 13]) {
    const path = lab.path(`${size}.raw`);
    await writeFile(path, noise(`disk of ${size}`, size));
    const disks = [{ name: 'vda', location: path }];
    const { pointId, disks: result } = await lab.backUp({ item: `vm-${size}`, disks });
    assert.equal(result[0]!.size, size);
    assert.equal(result[0]!.read, size);
    await assertSame(await lab.contentOf(pointId), path);
  }
});

test('every number of threads gives the same map and stores the same', async (t) => {
  const lab = await makeLab(t);
  const path = lab.path('disk.raw');
  await writeImage(path, 70 * MIB + 100, [
    { offset: 3, bytes: noise('a', 9 * MIB) },
    { offset: 30 * MIB + 5000, bytes: noise('b', 20 * MIB) },
    { offset: 70 * MIB + 1, bytes: noise('c', 99) },
  ]);
  const roots = new Set<string>();
  for (const threads of [1, 2, 4]) {
    const disks = [{ name: 'vda', location: path }];
    const { pointId } = await lab.backUp({ item: `vm-${threads}`, disks, threads });
    await assertSame(await lab.contentOf(pointId), path);
    roots.add(await lab.read(async ({ state }) => state.points.get(pointId)!.disks[0]!.root));
  }
  assert.equal(roots.size, 1);
});

test('what did not change is read, and not stored again', async (t) => {
  const lab = await makeLab(t);
  const path = lab.path('disk.raw');
  await writeImage(path, 40 * MIB, [{ offset: 2 * MIB, bytes: noise('a', 20 * MIB) }]);
  const disks = [{ name: 'vda', location: path }];
  await lab.backUp({ disks });
  const same = await lab.backUp({ disks });
  assert.deepEqual(
    same.disks.map(({ read, changed, stored }) => ({ read, changed, stored })),
    [{ read: 20 * MIB, changed: 0, stored: 0 }],
  );
  await patchImage(path, { patches: [{ offset: 5 * MIB + 4095, bytes: Buffer.from([1, 2]) }] });
  const changed = await lab.backUp({ disks });
  assert.equal(changed.disks[0]!.changed, 2 * 4096);
  assert.ok(changed.disks[0]!.stored < 24 * 1024, `${changed.disks[0]!.stored}`);
  await assertSame(await lab.contentOf(changed.pointId), path);
});

test('several disks go side by side, and equal data is stored once', async (t) => {
  const lab = await makeLab(t);
  const content = noise('shared', 20 * MIB);
  for (const name of ['a.raw', 'b.raw']) await writeFile(lab.path(name), content);
  await writeFile(lab.path('c.raw'), noise('other', MIB));
  const { pointId, disks } = await lab.backUp({
    disks: [
      { name: 'vda', location: lab.path('a.raw') },
      { name: 'vdb', location: lab.path('b.raw') },
      { name: 'vdc', location: lab.path('c.raw') },
    ],
  });
  const stored = disks.reduce((sum, disk) => sum + disk.stored, 0);
  assert.ok(stored > 21 * MIB && stored < 22 * MIB, `${stored}`);
  for (const [name, image] of [
    ['vda', 'a.raw'],
    ['vdb', 'b.raw'],
    ['vdc', 'c.raw'],
  ] as const) {
    await assertSame(await lab.contentOf(pointId, name), lab.path(image));
  }
});

test('a disk that grows, shrinks and grows again is whole in every point', async (t) => {
  const lab = await makeLab(t);
  const path = lab.path('disk.raw');
  await writeImage(path, 0);
  const points: { pointId: string; content: Buffer }[] = [];
  for (const size of [20 * MIB + 5, 50 * MIB, 16 * MIB, 3 * MIB + 1, 0, 40 * MIB + 4097]) {
    await patchImage(path, { sizeBytes: size });
    const bytes = noise(`${size}`, Math.min(size, 5000));
    await patchImage(path, { patches: [{ offset: size - bytes.length, bytes }] });
    const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: path }] });
    points.push({ pointId, content: await readFile(path) });
  }
  for (const { pointId, content } of points) {
    assert.ok((await lab.contentOf(pointId)).equals(content));
  }
});

test('an image over a backing file is one disk, and a real file system survives', async (t) => {
  const lab = await makeLab(t, 16_384);
  const tree = lab.path('tree');
  await run('mkdir', '-p', `${tree}/etc`);
  await writeFile(`${tree}/etc/hello`, noise('hello', 3 * MIB));
  const base = lab.path('base.raw');
  await writeImage(base, 64 * MIB);
  await run('mke2fs', '-q', '-t', 'ext4', '-d', tree, base);
  const overlay = lab.path('disk.qcow2');
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', overlay);
  await run('qemu-io', '-c', 'write -P 7 50M 70k', overlay);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: overlay }] });
  const restored = lab.path('restored.qcow2');
  await lab.restore({ point: pointId, disks: [{ name: 'vda', path: restored }] });
  await run('qemu-img', 'compare', overlay, restored);
  const raw = lab.path('restored.raw');
  await lab.restore({ point: pointId, disks: [{ name: 'vda', path: raw }] });
  await run('qemu-img', 'compare', '-F', 'raw', '-f', 'qcow2', overlay, raw);
  await run('e2fsck', '-fn', raw);
});

test('a disk that is written meanwhile gives no point', async (t) => {
  const lab = await makeLab(t);
  const path = lab.path('disk.raw');
  await writeImage(path, 8 * MIB, [{ offset: 0, bytes: noise('a', 8 * MIB) }]);
  let isPatched = false;
  const backup = lab.backUp({
    disks: [{ name: 'vda', location: path }],
    onProgress: () => {
      if (isPatched) return;
      isPatched = true;
      void patchImage(path, { patches: [{ offset: 9, bytes: Buffer.from('changed') }] });
    },
  });
  await assert.rejects(backup, { code: 'DiskChanged' });
  await lab.own(async ({ state }) => {
    assert.equal(state.points.size, 0);
    assert.equal(state.sessions.size, 0);
  });
});

test('what cannot be a backup is refused before anything is written', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, MIB);
  const refuses = async (code: string, ...disks: { name: string; location: string }[]) =>
    await assert.rejects(lab.backUp({ disks }), { code });
  await refuses('ArgumentInvalid');
  await refuses('ArgumentInvalid', { name: '', location });
  await refuses('ArgumentInvalid', { name: 'a', location }, { name: 'a', location });
  await refuses('DiskNotFound', { name: 'a', location: lab.path('none.raw') });
  await refuses('DiskNotFound', { name: 'a', location }, { name: 'b', location: '/none.raw' });
  await lab.own(async ({ state }) => assert.equal(state.packs.size + state.sessions.size, 0));
});

test('progress goes from nothing to all, and says what is being done', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, 30 * MIB, [{ offset: 0, bytes: noise('a', 12 * MIB) }]);
  const seen: { phase: string; doneBytes: number; totalBytes?: number }[] = [];
  await lab.backUp({
    disks: [{ name: 'vda', location }],
    onProgress: (progress) => seen.push(progress),
  });
  assert.equal(seen[0]!.doneBytes, 0);
  assert.deepEqual(seen.at(-1), {
    phase: 'backing up vda',
    doneBytes: 12 * MIB,
    totalBytes: 12 * MIB,
  });
});

test('a refresh of the session in the middle loses nothing and stores nothing twice', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  const content = noise('a', 24 * MIB);
  await writeFile(location, Buffer.concat([content, noise('b', 48 * MIB), content]));
  // The smallest claim table holds 11 000 new blocks; there are 18 000.
  const { pointId, disks } = await lab.backUp({
    disks: [{ name: 'vda', location }],
    expectedBytes: 1,
  });
  assert.ok(disks[0]!.stored < 74 * MIB, `${disks[0]!.stored}`);
  const packs = await lab.read(async ({ state }) => [...state.packs.values()]);
  const entries = new Set(packs.map(({ number }) => number));
  assert.ok(entries.size > 1, 'packs were logged in between');
  await assertSame(await lab.contentOf(pointId), location);
});

test('threads end with the backup, also with a failed one', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, MIB, [{ offset: 0, bytes: noise('a', MIB) }]);
  const disks = [{ name: 'vda', location }];
  const threads = (): number =>
    process.getActiveResourcesInfo().filter((name) => /Worker|MessagePort/.test(name)).length;
  const before = threads();
  await lab.backUp({ disks });
  await assert.rejects(lab.backUp({ disks: [...disks, { name: 'x', location: '/none.raw' }] }));
  assert.equal(threads(), before);
});
