import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isFolderAlive, makeScratchFolder, type ScratchFolder } from './scratch-folder.ts';

async function emptyFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-scratch-'));
  t.after(async () => await rm(folder, { recursive: true }));
  return folder;
}

async function make(scratchDir: string): Promise<ScratchFolder> {
  return await makeScratchFolder(scratchDir, {
    owner: { uid: 0, gid: 0 },
    diskCount: 1,
    random: randomBytes,
  });
}

test('a folder is private, alive until it is closed, and leaves nothing', async (t) => {
  const scratchDir = await emptyFolder(t);
  const folder = await make(scratchDir);
  assert.equal((await stat(folder.path)).mode & 0o777, 0o700);
  assert.equal(await isFolderAlive(folder.path), true);
  await writeFile(join(folder.path, 'scratch.qcow2'), 'old data');
  await folder.close();
  await folder.close();
  assert.equal(await isFolderAlive(folder.path), false);
  assert.deepEqual(await readdir(scratchDir), []);
});

test('what a killed process left is removed; what a living one has, and what is not ours, stays', async (t) => {
  const scratchDir = await emptyFolder(t);
  const living = await make(scratchDir);
  await mkdir(join(scratchDir, 'theirs'));
  const script = `
    const { makeScratchFolder } = await import(${JSON.stringify(join(import.meta.dirname, 'scratch-folder.ts'))});
    const { randomBytes } = await import('node:crypto');
    const owner = { uid: 0, gid: 0 };
    const { path } = await makeScratchFolder(${JSON.stringify(scratchDir)}, { owner, diskCount: 1, random: randomBytes });
    process.stdout.write(path);
    setInterval(() => {}, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: import.meta.dirname,
  });
  const [output] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(await isFolderAlive(output.toString()), true);
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.equal((await readdir(scratchDir)).length, 3);

  const next = await make(scratchDir);
  const left = (await readdir(scratchDir)).map((name) => join(scratchDir, name));
  assert.deepEqual(
    left.toSorted(),
    [living.path, next.path, join(scratchDir, 'theirs')].toSorted(),
  );
  await next.close();
  await living.close();
});

test('in a folder whose path is too long for sockets, the socket is elsewhere and goes as well', async (t) => {
  const scratchDir = join(await emptyFolder(t), 'long'.repeat(25));
  const folder = await make(scratchDir);
  assert.ok(Buffer.byteLength(folder.socketPath) < 108);
  await writeFile(folder.socketPath, '');
  await folder.close();
  await assert.rejects(stat(folder.socketPath), { code: 'ENOENT' });
});
