import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { openSource } from '#disk';
import { clock, makeLab, noise, run, writeImage, type Lab } from '../testing/lab.ts';
import { servePoint, type PointServer } from './serve-point.ts';

const MIB = 1024 * 1024;
const SIZE = 70 * MIB + 515;

type ServedLab = Lab & { readonly image: string; readonly point: string };

async function servedLab(t: TestContext): Promise<ServedLab> {
  const lab = await makeLab(t, 16_384);
  const image = lab.path('disk.raw');
  await writeImage(image, SIZE, [
    { offset: MIB, bytes: noise('a', 9 * MIB) },
    { offset: 50 * MIB + 1000, bytes: noise('b', 5 * MIB) },
    { offset: SIZE - 5, bytes: Buffer.from('end..') },
  ]);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  return { ...lab, image, point: pointId };
}

async function serving(lab: ServedLab, use: (server: PointServer) => Promise<void>): Promise<void> {
  await lab.read(async (repository) => {
    const server = await servePoint({
      repository,
      point: lab.point,
      disk: 'vda',
      socketPath: lab.path('s.sock'),
      threads: 2,
      warn: (message) => lab.warnings.push(message),
    });
    try {
      await use(server);
    } finally {
      await server.close();
    }
  });
}

test('a served disk is the disk: nbdcopy, random reads, holes', async (t) => {
  const lab = await servedLab(t);
  const content = await readFile(lab.image);
  await serving(lab, async ({ uri, sizeBytes }) => {
    assert.equal(sizeBytes, SIZE);
    const copy = lab.path('copy.raw');
    await run('nbdcopy', uri, copy);
    assert.ok((await readFile(copy)).equals(content));
    const source = await openSource({ kind: 'nbd', uri, sizeBytes }, { clock });
    for (const [offset, length] of [
      [0, 1],
      [MIB - 1, 2],
      [9 * MIB + 3, 3 * MIB],
      [50 * MIB, 4000],
      [SIZE - 5, 5],
      [30 * MIB, 2 * MIB],
    ] as const) {
      const target = Buffer.alloc(length, 0xee);
      await source.read(offset, target);
      assert.ok(target.equals(content.subarray(offset, offset + length)), `${offset}`);
    }
    const data = await source.dataExtents();
    assert.deepEqual(data, [
      { offset: MIB, length: 9 * MIB },
      { offset: 50 * MIB, length: 5 * MIB + 16_384 },
      { offset: 70 * MIB, length: 515 },
    ]);
    await source.close();
  });
  assert.equal(existsSync(lab.path('s.sock')), false);
  assert.deepEqual(lab.warnings, []);
});

test('a qcow2 overlay on a served disk is written, and the point stays as it was', async (t) => {
  const lab = await servedLab(t);
  await serving(lab, async ({ uri }) => {
    const overlay = lab.path('overlay.qcow2');
    await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', uri, '-F', 'raw', overlay);
    await run('qemu-io', '-c', 'write -P 5 2M 1M', '-c', 'read -P 5 2M 1M', overlay);
    const other = await run('qemu-img', 'compare', '-f', 'raw', lab.image, uri);
    assert.match(other, /identical/);
  });
});

test('many readers at once, more than the frames kept, get the right bytes', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeFile(location, noise('many', 150 * MIB));
  const content = await readFile(location);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location }] });
  await serving({ ...lab, image: location, point: pointId }, async ({ uri, sizeBytes }) => {
    const source = await openSource({ kind: 'nbd', uri, sizeBytes }, { clock });
    const read = async (offset: number): Promise<void> => {
      const target = Buffer.alloc(200_000);
      await source.read(offset, target);
      assert.ok(target.equals(content.subarray(offset, offset + target.length)));
    };
    const offsets = Array.from({ length: 700 }, (_, at) => (at * 7_919_123) % (149 * MIB));
    await Promise.all(offsets.map(read));
    await source.close();
  });
});

test('what cannot be read is an error to the client that says why, and the rest is served', async (t) => {
  const lab = await servedLab(t);
  const packs = await lab.read(async ({ state }) => [...state.packs]);
  const [id] = packs.find(([, { kind }]) => kind === 'data')!;
  const pack = `${lab.location}/packs/${id.slice(0, 2)}/${id}`;
  const bytes = await readFile(pack);
  bytes[2 * MIB]! ^= 1;
  await writeFile(pack, bytes);
  const content = await readFile(lab.image);
  await serving(lab, async ({ uri, sizeBytes }) => {
    const source = await openSource({ kind: 'nbd', uri, sizeBytes }, { clock });
    const target = Buffer.alloc(9 * MIB);
    await assert.rejects(source.read(MIB, target), /cannot be read at offset/);
    const other = Buffer.alloc(MIB);
    await source.read(51 * MIB, other);
    assert.ok(other.equals(content.subarray(51 * MIB, 52 * MIB)));
    await source.close();
  });
  assert.match(lab.warnings.join(), new RegExp(`vda of point ${lab.point} .*${id}`));
});
