/** A repository on a disk without a free byte: it is read, and what frees space works; a backup is refused. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, statfs, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { expirePoints } from '#repository';
import { createRepository } from './new-repository.ts';
import { withRepository } from './open-repository.ts';
import { restoreDisks } from './restoring/restore-disks.ts';
import { backUpDisks } from './taking/back-up-disks.ts';
import { clock, noise, run, writeImage } from './testing/lab.ts';

const MIB = 1024 * 1024;

type SmallDisk = {
  readonly location: string;
  readonly image: string;
  readonly path: (name: string) => string;
  readonly freeBytes: () => Promise<number>;
  /** Until not a byte is left. */
  readonly fill: () => Promise<void>;
  readonly empty: () => Promise<void>;
};

async function onSmallDisk(t: TestContext): Promise<SmallDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-no-byte-'));
  const path = (name: string): string => join(folder, name);
  const disk = path('disk');
  await mkdir(disk);
  await run('/bin/mount', '-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk);
  t.after(async () => {
    await run('/bin/umount', '-l', disk);
    await rm(folder, { recursive: true });
  });
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(disk);
    return bavail * bsize;
  };
  const image = path('image.raw');
  await writeImage(image, 8 * MIB, [{ offset: 0, bytes: noise('first', 4 * MIB) }]);
  return {
    location: join(disk, 'repository'),
    image,
    path,
    freeBytes,
    fill: async () => {
      await writeFile(join(disk, 'filler'), Buffer.alloc(await freeBytes(), 1));
      assert.equal(await freeBytes(), 0);
    },
    empty: async () => await rm(join(disk, 'filler')),
  };
}

const caller = {
  clock,
  random: (size: number) => randomBytes(size),
  version: 'test',
  process: { host: 'here', pid: process.pid, command: 'test' },
  warn: (message: string) => assert.fail(message),
};

test('a new repository has its reserve before anybody has opened it, and an owner that finds none makes it first', async (t) => {
  const { location, fill } = await onSmallDisk(t);
  const options = { location, blockSize: 16384, access: { kdf: 'none' }, label: 't' } as const;
  await createRepository({ ...options, caller });
  const reserve = join(location, 'reserve');
  assert.equal((await stat(reserve)).size, 4 * MIB);
  await rm(reserve);
  const own = { location, password: undefined, waitMs: 0, caller, access: 'own' } as const;
  const told: string[] = [];
  const telling = { ...caller, warn: (text: string) => void told.push(text) };
  const failed = withRepository({ ...own, caller: telling }, async () => {
    assert.equal((await stat(reserve)).size, 4 * MIB);
    await fill();
    throw new Error('the work has failed');
  });
  await assert.rejects(failed, /the work has failed/);
  assert.match(told.join('\n'), /^the repository was left open, .*: no space left for the index$/);
  await assert.rejects(
    withRepository(own, async () => {}),
    { code: 'StoreFull' },
  );
  await withRepository({ ...own, freesSpace: true }, async () => {
    await assert.rejects(stat(reserve), { code: 'ENOENT' }, 'given up, and not made again at once');
  });
});

test('not a byte is free: points are listed and restored, one expires, a backup is refused; then all goes on', async (t) => {
  const { location, image, path, freeBytes, fill, empty } = await onSmallDisk(t);
  await createRepository({
    location,
    blockSize: 16384,
    access: { kdf: 'none' },
    label: 't',
    caller,
  });
  const opened = { location, password: undefined, waitMs: 0, caller };
  const own = { ...opened, access: 'own' } as const;
  const backUp = async (): Promise<string> =>
    await withRepository(own, async (repository) => {
      const disks = [{ name: 'vda', location: image }];
      const warn = caller.warn;
      return (await backUpDisks({ repository, item: 'vm', clock, warn, threads: 1, disks }))
        .pointId;
    });
  const reserve = join(location, 'reserve');
  const first = await backUp();
  await writeImage(image, 8 * MIB, [{ offset: 0, bytes: noise('second', 2 * MIB) }]);
  const second = await backUp();
  assert.equal((await stat(reserve)).size, 4 * MIB);
  await fill();

  const restored = path('restored.raw');
  await withRepository({ ...opened, access: 'read' }, async (repository) => {
    assert.equal(repository.state.points.size, 2);
    const disks = [{ name: 'vda', path: restored }];
    await restoreDisks({ repository, clock, overwrite: false, threads: 1, point: second, disks });
  });
  assert.deepEqual(await readFile(restored), await readFile(image));
  assert.deepEqual(
    (await readdir(join(location, 'locks'))).filter((name) => name.startsWith('reader')),
    [],
  );

  await assert.rejects(backUp(), { code: 'StoreFull' });
  assert.equal((await stat(reserve)).size, 4 * MIB, 'a backup does not eat the reserve');
  await withRepository({ ...own, freesSpace: true }, async ({ parts }) => {
    await expirePoints(parts, [first]);
  });
  await assert.rejects(stat(reserve), { code: 'ENOENT' });
  assert.ok((await freeBytes()) > 3 * MIB);

  await empty();
  await backUp();
  assert.equal((await stat(reserve)).size, 4 * MIB, 'there is room for it again');
});
