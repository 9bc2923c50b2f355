import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { folderOfImage, folderOfSocket, isBackupAlive, makeBackupFolder } from './backup-folder.ts';

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'scratch-'));
  t.after(async () => await rm(folder, { recursive: true, force: true }));
  return folder;
}

test('a folder shows that its backup lives, until it is removed', async (t) => {
  const parent = await scratch(t);
  const folder = await makeBackupFolder(join(parent, 'made'), undefined);
  const path = folderOfSocket(folder.socketPath)!;
  assert.equal(dirname(path), join(parent, 'made'));
  assert.ok(await isBackupAlive(path));
  assert.equal((await stat(path)).mode & 0o777, 0o711);
  assert.equal((await stat(dirname(folder.scratchPath('vda')))).mode & 0o777, 0o700);
  await folder.remove();
  await folder.remove();
  assert.ok(!(await isBackupAlive(path)));
  assert.deepEqual(await readdir(join(parent, 'made')), []);
});

test("QEMU's part belongs to QEMU's user, ours to us", async (t) => {
  const folder = await makeBackupFolder(await scratch(t), { uid: 64_055, gid: 108 });
  const own = process.getuid!();
  const part = await stat(dirname(folder.socketPath));
  // Only root gives files away.
  assert.equal(part.uid, own === 0 ? 64_055 : own);
  assert.equal((await stat(folderOfSocket(folder.socketPath)!)).uid, own);
  await folder.remove();
});

test('what a killed backup left is removed, what others have there stays', async (t) => {
  const parent = await scratch(t);
  const living = await makeBackupFolder(parent, undefined);
  await mkdir(join(parent, 'holdfast-dead'));
  await writeFile(join(parent, 'holdfast-dead', 'alive'), '');
  await mkdir(join(parent, 'holdfast-other'));
  await writeFile(join(parent, 'file'), '');
  const second = await makeBackupFolder(parent, undefined);
  const names = await readdir(parent);
  assert.equal(names.length, 4);
  assert.ok(names.includes('holdfast-other') && !names.includes('holdfast-dead'));
  await living.remove();
  await second.remove();
});

test('in a deep folder only the scratch images lie deep: sockets have short paths', async (t) => {
  const parent = join(await scratch(t), 'x'.repeat(90));
  const folder = await makeBackupFolder(parent, undefined);
  assert.ok(Buffer.byteLength(folder.socketPath) <= 107);
  assert.ok(folder.scratchPath('vda').startsWith(parent));
  // A job in push mode tells only where its images are.
  const ofImages = folderOfImage(folder.scratchPath('vda'))!;
  assert.ok(await isBackupAlive(ofImages));
  const second = await makeBackupFolder(parent, undefined);
  assert.ok((await readdir(parent)).includes(basename(ofImages)), 'it lives');
  await second.remove();
  await folder.remove();
  assert.ok(!(await isBackupAlive(ofImages)));
  assert.deepEqual(await readdir(parent), []);
});

test('sockets of others belong to no backup of ours', () => {
  for (const path of [
    '',
    '/var/tmp/virtnbdbackup.5727',
    '/run/x/qemu/nbd',
    '/run/holdfast-x/nbd',
  ]) {
    assert.equal(folderOfSocket(path), undefined, path);
  }
});

test('a folder that cannot be made says which', async (t) => {
  const file = join(await scratch(t), 'file');
  await writeFile(file, '');
  await assert.rejects(makeBackupFolder(file, undefined), { code: 'StoreFailed' });
});
