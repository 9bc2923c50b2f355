import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { inScratch } from './scratch-folder.ts';

const CHILD = new URL('../testing/scratch-child.ts', import.meta.url).pathname;

async function parentFolder(t: TestContext): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'holdfast-scratch-test-'));
  t.after(async () => await rm(parent, { recursive: true }));
  return parent;
}

/** A process that has a scratch folder in `parent`. */
async function holder(
  t: TestContext,
  parent: string,
): Promise<{ readonly folder: string; readonly kill: () => Promise<void> }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CHILD, parent], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  return { folder: said.toString('utf8').trim(), kill: async () => await killed(child) };
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = once(child, 'close');
  child.kill('SIGKILL');
  await ended;
}

const use = async (parent: string): Promise<string> =>
  await inScratch(parent, async (folder) => await Promise.resolve(folder));

test('a scratch folder can be entered by others, and is gone afterwards, whatever happens', async (t) => {
  const parent = await parentFolder(t);
  await inScratch(parent, async (folder) => {
    assert.equal((await stat(folder)).mode & 0o777, 0o711);
    await writeFile(join(folder, 'vda.qcow2'), 'x');
  });
  const failing = inScratch(parent, async () => await Promise.reject(new Error('no')));
  await assert.rejects(failing, /^Error: no$/);
  assert.deepEqual(await readdir(parent), []);
  await assert.rejects(use(join(parent, 'none')), {
    code: 'ArgumentInvalid',
    message: /--scratch/,
  });
});

test('what a killed process left is removed by the next one; what a living one uses is not', async (t) => {
  const parent = await parentFolder(t);
  const [dead, alive] = [await holder(t, parent), await holder(t, parent)];
  await mkdir(join(dead.folder, 'qemu'));
  await writeFile(join(dead.folder, 'qemu/vda.qcow2'), 'left');
  await dead.kill();
  await use(parent);
  assert.deepEqual(await readdir(parent), [basename(alive.folder)]);
  await alive.kill();
  await use(parent);
  assert.deepEqual(await readdir(parent), []);
});

test('a file that a QEMU has open keeps its folder until it is closed', async (t) => {
  const parent = await parentFolder(t);
  const dead = await holder(t, parent);
  const image = join(dead.folder, 'vda.qcow2');
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M']);
  const socket = join(parent, 'nbd.sock');
  const qemu = spawn('qemu-nbd', ['-f', 'qcow2', '-t', '-k', socket, image], { stdio: 'inherit' });
  t.after(() => qemu.kill('SIGKILL'));
  while (!existsSync(socket)) await new Promise((resolve) => setImmediate(resolve));
  await dead.kill();
  await use(parent);
  assert.ok(existsSync(image));
  await inScratch(parent, async () => await killed(qemu));
  assert.ok(!existsSync(dead.folder), 'swept after use, which had ended the QEMU');
});

test('what is not provably a dead folder of this user stays', async (t) => {
  const parent = await parentFolder(t);
  const strange = ['holdfast-work-abcdef', 'holdfast-abcdef', 'holdfast-work-not-ours'];
  for (const name of strange) {
    await mkdir(join(parent, name));
    await writeFile(join(parent, name, 'file'), 'x');
  }
  const folders = [...strange];
  if (process.getuid?.() === 0) {
    const { folder, kill } = await holder(t, parent);
    await kill();
    await chown(folder, 65_534, 65_534);
    folders.push(basename(folder));
  }
  await mkdir(join(parent, 'holdfast-work-emptyy'));
  await use(parent);
  assert.deepEqual((await readdir(parent)).toSorted(), folders.toSorted());
});
