import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createTarget, type PreparedTarget, type TargetOptions } from './create-target.ts';
import { openSource, openTarget } from './open-disk.ts';
import { prepareSource } from './prepare-source.ts';
import { clock, holdAsVm, noise, readAll, run, scratch } from './testing/peers.ts';

const MIB = 1024 * 1024;
const SIZE = 8 * MIB;

async function create(
  t: TestContext,
  path: string,
  options: Partial<TargetOptions> = {},
): Promise<PreparedTarget> {
  const wishes = { path, sizeBytes: SIZE, overwrite: false, clock, ...options };
  const target = await createTarget(wishes);
  t.after(async () => await target.discard());
  return target;
}

/** Writes 1 MiB at 2 MiB, zeros around it. */
async function fill(target: PreparedTarget, seed: string): Promise<Buffer> {
  const content = Buffer.alloc(target.sizeBytes);
  target.reserve({ offset: 2 * MIB, length: MIB });
  target.reserved();
  const disk = await openTarget(target.spec, { clock });
  const data = noise(seed, MIB);
  data.copy(content, 2 * MIB);
  await Promise.all([
    disk.writeZeroes(0, 2 * MIB),
    disk.write(2 * MIB, data),
    disk.write(3 * MIB, Buffer.alloc(MIB)),
    disk.writeZeroes(4 * MIB, target.sizeBytes - 4 * MIB),
  ]);
  await disk.flush();
  assert.ok((await readAll(disk)).equals(content));
  await disk.close();
  return content;
}

async function contentOf(path: string): Promise<Buffer> {
  const disk = await prepareSource({ location: path, clock });
  const source = await openSource(disk.spec, { clock });
  const content = await readAll(source);
  await source.close();
  await disk.close();
  return content;
}

for (const extension of ['raw', 'qcow2', 'vmdk', 'vhdx', 'vhd', 'vdi', 'qcow']) {
  test(`a new .${extension} appears whole at finish, sparse, and can be overwritten`, async (t) => {
    const folder = await scratch(t);
    const path = join(folder, `out.${extension}`);
    const target = await create(t, path);
    const content = await fill(target, 'first');
    assert.ok(!existsSync(path));
    await target.finish();
    assert.deepEqual(await readdir(folder), [`out.${extension}`]);
    assert.ok((await contentOf(path)).equals(content));
    const { blocks, mode } = await stat(path);
    assert.ok(blocks * 512 < 6 * MIB, `${blocks * 512} bytes stored`);
    assert.equal(mode & 0o777, 0o600);

    await assert.rejects(create(t, path), { code: 'OutputExists' });
    const again = await create(t, path, { overwrite: true });
    assert.equal(again.spec.fresh, false);
    const second = await fill(again, 'second');
    await again.finish();
    assert.ok((await contentOf(path)).equals(second));
  });
}

test('a discarded target leaves nothing', async (t) => {
  const folder = await scratch(t);
  for (const name of ['a.raw', 'b.qcow2']) {
    const target = await create(t, join(folder, name));
    await fill(target, 'gone');
    await target.discard();
    await target.discard();
  }
  assert.deepEqual(await readdir(folder), []);
});

test('a file that appears meanwhile is not replaced', async (t) => {
  const folder = await scratch(t);
  const path = join(folder, 'a.raw');
  const target = await create(t, path);
  await writeFile(path, 'keep');
  await assert.rejects(target.finish(), { code: 'OutputExists' });
  assert.equal(await readFile(path, 'utf8'), 'keep');
  assert.deepEqual(await readdir(folder), ['a.raw']);
});

test('what an interrupted restore left is refused, and removed with overwrite', async (t) => {
  const folder = await scratch(t);
  const path = join(folder, 'a.raw');
  await mkdir(`${path}.partial`);
  await assert.rejects(create(t, path), { code: 'OutputExists' });
  await (await create(t, path, { overwrite: true })).finish();
  assert.deepEqual(await readdir(folder), ['a.raw']);
});

test('overwriting a raw file or image of another size is refused', async (t) => {
  const folder = await scratch(t);
  const [raw, qcow2] = [join(folder, 'a.raw'), join(folder, 'b.qcow2')];
  await writeFile(raw, noise('old', 9 * MIB));
  await assert.rejects(create(t, raw, { overwrite: true }), { code: 'ArgumentInvalid' });
  assert.ok((await readFile(raw)).equals(noise('old', 9 * MIB)));
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', qcow2, '9M');
  await assert.rejects(create(t, qcow2, { overwrite: true }), { code: 'ArgumentInvalid' });
});

test('an image in use is not overwritten', async (t) => {
  const folder = await scratch(t);
  const [path, socket] = [join(folder, 'a.qcow2'), join(folder, 's')];
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '8M');
  await holdAsVm(t, { path, format: 'qcow2', socket });
  await assert.rejects(create(t, path, { overwrite: true }), { code: 'DiskInUse' });
});

test('a raw file that a VM writes is not overwritten', async (t) => {
  const folder = await scratch(t);
  const [path, socket] = [join(folder, 'a.raw'), join(folder, 's')];
  await writeFile(path, noise('vm', SIZE));
  await holdAsVm(t, { path, format: 'raw', socket });
  await assert.rejects(create(t, path, { overwrite: true }), { code: 'DiskInUse' });
  assert.ok((await readFile(path)).equals(noise('vm', SIZE)));
});

test('several writers share a target, and writes outside it are refused', async (t) => {
  const path = join(await scratch(t), 'a.qcow2');
  const target = await create(t, path);
  const data = noise('shared', SIZE);
  target.reserve({ offset: 0, length: SIZE });
  target.reserved();
  const writers = await Promise.all(
    Array.from({ length: 4 }, async () => await openTarget(target.spec, { clock })),
  );
  await Promise.all(
    writers.map(async (writer, index) => {
      const start = index * 2 * MIB;
      await writer.write(start, data.subarray(start, start + 2 * MIB));
      await writer.flush();
    }),
  );
  await assert.rejects(writers[0]!.write(SIZE, Buffer.alloc(1)), { code: 'DiskRangeInvalid' });
  await Promise.all(writers.map(async (writer) => await writer.close()));
  await target.finish();
  assert.ok((await contentOf(path)).equals(data));
});
