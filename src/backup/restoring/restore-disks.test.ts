import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import {
  assertSame,
  makeLab,
  noise,
  patchImage,
  run,
  writeImage,
  type Lab,
} from '../testing/lab.ts';

const MIB = 1024 * 1024;
const SIZE = 40 * MIB + 700;

type RestoreLab = Lab & { readonly image: string; readonly point: string };

/** A lab with one point of a sparse disk. */
async function restoreLab(t: TestContext): Promise<RestoreLab> {
  const lab = await makeLab(t);
  const image = lab.path('disk.raw');
  await writeImage(image, SIZE, [
    { offset: 8192, bytes: noise('a', 5 * MIB) },
    { offset: 20 * MIB, bytes: noise('a', 2 * MIB) },
    { offset: SIZE - 300, bytes: noise('end', 300) },
  ]);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  return { ...lab, image, point: pointId };
}

test('a new raw output is sparse, whole and private', async (t) => {
  const lab = await restoreLab(t);
  const path = lab.path('out.raw');
  const { disks } = await lab.restore({ point: lab.point, disks: [{ name: 'vda', path }] });
  await assertSame(await readFile(path), lab.image);
  const { blocks, mode } = await stat(path);
  assert.ok(blocks * 512 < 8 * MIB, `${blocks}`);
  assert.equal(mode & 0o777, 0o600);
  assert.deepEqual(disks, [{ name: 'vda', size: SIZE, written: 7 * MIB + 700 }]);
  assert.equal(existsSync(`${path}.partial`), false);
});

test('several disks are restored at once, to several formats', async (t) => {
  const lab = await makeLab(t);
  const names = ['vda', 'vdb', 'vdc'];
  for (const [at, name] of names.entries()) {
    const bytes = noise(name, 3 * MIB);
    await writeImage(lab.path(`${name}.raw`), 10 * MIB, [{ offset: at * MIB, bytes }]);
  }
  const { pointId } = await lab.backUp({
    disks: names.map((name) => ({ name, location: lab.path(`${name}.raw`) })),
  });
  const outputs = { vda: 'a.qcow2', vdb: 'b.vmdk', vdc: 'c.raw' };
  const disks = Object.entries(outputs).map(([name, file]) => ({ name, path: lab.path(file) }));
  await lab.restore({ point: pointId, disks });
  for (const { name, path } of disks)
    await run('qemu-img', 'compare', lab.path(`${name}.raw`), path);
});

test('an output that exists is refused, and overwritten only where it differs', async (t) => {
  const lab = await restoreLab(t);
  const path = lab.path('out.raw');
  const disks = [{ name: 'vda', path }];
  await lab.restore({ point: lab.point, disks });
  await assert.rejects(lab.restore({ point: lab.point, disks }), { code: 'OutputExists' });
  const same = await lab.restore({ point: lab.point, disks, overwrite: true });
  assert.equal(same.disks[0]!.written, 0);
  await patchImage(path, {
    patches: [
      { offset: MIB + 5, bytes: Buffer.from('x') },
      { offset: 10 * MIB, bytes: noise('where zeros are', 3 * 4096) },
      { offset: 21 * MIB - 4096, bytes: Buffer.alloc(8192) },
      { offset: SIZE - 1, bytes: Buffer.from('x') },
    ],
  });
  const mended = await lab.restore({ point: lab.point, disks, overwrite: true });
  assert.equal(mended.disks[0]!.written, 6 * 4096 + (SIZE % 4096));
  await assertSame(await readFile(path), lab.image);
});

test('an existing qcow2 is overwritten only where it differs', async (t) => {
  const lab = await restoreLab(t);
  const path = lab.path('out.qcow2');
  const disks = [{ name: 'vda', path }];
  await lab.restore({ point: lab.point, disks });
  await run('qemu-io', '-c', 'write -P 9 1M 4k', '-c', 'write -P 9 30M 64k', path);
  const { disks: result } = await lab.restore({ point: lab.point, disks, overwrite: true });
  assert.equal(result[0]!.written, 4096 + 65_536);
  await run('qemu-img', 'compare', lab.image, path);
});

test('points and disks that are not there are named, with what there is', async (t) => {
  const lab = await restoreLab(t);
  const path = lab.path('out.raw');
  await assert.rejects(lab.restore({ point: '12', disks: [{ name: 'vda', path }] }), {
    code: 'PointNotFound',
    message: `there is no recovery point 12: there is ${lab.point}`,
  });
  await assert.rejects(lab.restore({ point: lab.point, disks: [{ name: 'sda', path }] }), {
    code: 'DiskNotFound',
    message: `the recovery point ${lab.point} has no disk sda: it has vda`,
  });
  const twice = [
    { name: 'vda', path },
    { name: 'vda', path: lab.path('b.raw') },
  ];
  for (const disks of [[], twice]) {
    await assert.rejects(lab.restore({ point: lab.point, disks }), { code: 'ArgumentInvalid' });
  }
  assert.equal(existsSync(path), false);
});

test('a block without a readable copy fails the restore, and no output looks whole', async (t) => {
  const lab = await restoreLab(t);
  const path = lab.path('out.raw');
  const packs = await lab.read(async ({ state }) => [...state.packs]);
  const [id] = packs.find(([, { kind }]) => kind === 'data')!;
  const pack = `${lab.location}/packs/${id.slice(0, 2)}/${id}`;
  const bytes = await readFile(pack);
  bytes[MIB]! ^= 1;
  await writeFile(pack, bytes);
  await assert.rejects(
    lab.restore({ point: lab.point, disks: [{ name: 'vda', path }] }),
    (error: { code: string; message: string; details: Record<string, unknown> }) => {
      assert.equal(error.code, 'BlockMissing');
      assert.match(error.message, new RegExp(`vda of point ${lab.point} .* offset \\d+.*${id}`));
      assert.equal(error.details['disk'], 'vda');
      return true;
    },
  );
  assert.deepEqual((await readdir(lab.folder)).sort(), ['disk.raw', 'repository']);
  await lab.read(async ({ state }) => assert.equal(state.damage.size, 1, 'it is in the log'));
});

test('a damaged copy gives way to another', async (t) => {
  const lab = await restoreLab(t);
  const dataPacks = async (): Promise<string[]> =>
    await lab.read(async ({ state }) =>
      [...state.packs].filter(([, { kind }]) => kind === 'data').map(([id]) => id),
    );
  const pathOf = (id: string): string => `${lab.location}/packs/${id.slice(0, 2)}/${id}`;
  const [first] = await dataPacks();
  const whole = await readFile(pathOf(first!));
  await rm(pathOf(first!));
  await assert.rejects(lab.contentOf(lab.point), { code: 'BlockMissing' });
  await lab.backUp({ disks: [{ name: 'vda', location: lab.image }] });
  // Now there are two copies; the older is whole again but known as damaged, the newer breaks.
  await writeFile(pathOf(first!), whole);
  const second = (await dataPacks()).at(-1)!;
  assert.notEqual(second, first);
  await assertSame(await lab.contentOf(lab.point), lab.image);
});

test('a cancelled restore leaves nothing', async (t) => {
  const lab = await restoreLab(t);
  const cancelling = new AbortController();
  const restore = lab.restore({
    point: lab.point,
    disks: [{ name: 'vda', path: lab.path('out.raw') }],
    signal: cancelling.signal,
    onProgress: () => cancelling.abort(),
  });
  await assert.rejects(restore, { code: 'Cancelled' });
  assert.deepEqual((await readdir(lab.folder)).sort(), ['disk.raw', 'repository']);
});

test('a disk of 0 bytes and a disk of zeros are restored', async (t) => {
  const lab = await makeLab(t);
  for (const size of [0, 3 * MIB + 1]) {
    const location = lab.path(`${size}.raw`);
    await writeImage(location, size);
    const { pointId } = await lab.backUp({
      item: `${size}`,
      disks: [{ name: 'vda', location }],
    });
    await assertSame(await lab.contentOf(pointId), location);
  }
});
