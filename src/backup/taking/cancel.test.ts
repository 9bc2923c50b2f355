import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { assertSame, makeLab, noise, run, writeImage } from '../testing/lab.ts';

const MIB = 1024 * 1024;

async function storedBytes(location: string): Promise<number> {
  const listing = await run('find', `${location}/packs`, '-type', 'f', '-printf', '%s\n');
  return listing
    .split('\n')
    .filter((line) => line !== '')
    .reduce((sum, line) => sum + Number(line), 0);
}

test('a cancelled backup leaves no point, and the next stores nothing twice', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeFile(location, noise('a', 120 * MIB));
  const disks = [{ name: 'vda', location }];
  const cancelling = new AbortController();
  const backup = lab.backUp({
    disks,
    signal: cancelling.signal,
    onProgress: ({ doneBytes }) => {
      if (doneBytes > 20 * MIB) cancelling.abort();
    },
  });
  await assert.rejects(backup, { code: 'Cancelled' });
  const kept = await storedBytes(lab.location);
  assert.ok(kept > 15 * MIB && kept < 121 * MIB, `${kept}`);
  await lab.own(async ({ state }) => {
    assert.deepEqual([state.points.size, state.sessions.size], [0, 0]);
    assert.ok(state.packs.size > 0);
  });
  const { pointId, disks: result } = await lab.backUp({ disks });
  const all = await storedBytes(lab.location);
  assert.ok(all < 122 * MIB, `${all}`);
  assert.ok(result[0]!.stored <= 122 * MIB - kept, `${result[0]!.stored}`);
  await assertSame(await lab.contentOf(pointId), location);
});

test('a backup cancelled before it begins writes nothing', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, MIB);
  const backup = lab.backUp({ disks: [{ name: 'vda', location }], signal: AbortSignal.abort() });
  await assert.rejects(backup, { code: 'Cancelled' });
  await lab.own(async ({ state }) => assert.equal(state.packs.size + state.sessions.size, 0));
});

test('an unreadable place fails the backup with its offset; what was sealed stays', async (t) => {
  const lab = await makeLab(t);
  const image = lab.path('disk.raw');
  await writeFile(image, noise('a', 40 * MIB));
  const socket = lab.path('nbd.sock');
  const { spawn } = await import('node:child_process');
  const server = spawn('nbdkit', [
    '-f',
    '-U',
    socket,
    '--filter=error',
    'file',
    image,
    'error-pread=EIO',
    'error-pread-rate=100%',
    `error-file=${lab.path('broken')}`,
  ]);
  t.after(() => server.kill('SIGKILL'));
  while (!(await readdir(lab.folder)).includes('nbd.sock')) await run('sleep', '0.02');
  const disks = [{ name: 'vda', location: `nbd+unix:///?socket=${socket}` }];
  await writeFile(lab.path('broken'), '');
  await assert.rejects(lab.backUp({ disks }), (error: { code: string; message: string }) => {
    assert.equal(error.code, 'DiskReadFailed');
    assert.match(error.message, /offset \d+/);
    return true;
  });
  await rm(lab.path('broken'));
  const { pointId } = await lab.backUp({ disks });
  assert.ok((await lab.contentOf(pointId)).equals(await readFile(image)));
});

test('a failing store fails the backup, and the repository is sound afterwards', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeFile(location, noise('a', 60 * MIB));
  const disks = [{ name: 'vda', location }];
  await lab.own(async () => {});
  const packs = `${lab.location}/packs`;
  await rm(packs, { recursive: true, force: true });
  // A file where the folder must be: every pack fails to be named.
  await writeFile(packs, '');
  await assert.rejects(lab.backUp({ disks }));
  await rm(packs);
  const { pointId } = await lab.backUp({ disks });
  await assertSame(await lab.contentOf(pointId), location);
});
