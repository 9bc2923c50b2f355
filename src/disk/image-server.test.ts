import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startImageServer } from './image-server.ts';
import { prepareSource } from './prepare-source.ts';
import { clock, run, scratch, serve } from './testing/peers.ts';

const CHILD = new URL('./testing/servers-child.ts', import.meta.url).pathname;
const ROUNDS = 8;
const SERVERS = 8;

async function qcow2(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M');
  return path;
}

/** The ids of the processes whose command line names the text. */
async function processesOf(text: string): Promise<string[]> {
  const found = [];
  for (const id of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const words = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
    if (words.includes(text)) found.push(id);
  }
  return found;
}

/** Waits until `ask` gives nothing, at most some seconds; then what is left. */
async function leftOf(ask: () => Promise<string[]>): Promise<string[]> {
  let left = await ask();
  for (let tries = 0; tries < 100 && left.length > 0; tries += 1) {
    await sleep(50);
    left = await ask();
  }
  return left;
}

test('a process that is killed while it starts servers leaves none, nor a folder of one', async (t) => {
  const folder = await scratch(t);
  const images = await Promise.all(
    Array.from({ length: SERVERS }, async (_, number) => await qcow2(folder, `${number}.qcow2`)),
  );
  const temporary = join(folder, 'tmp');
  await mkdir(temporary);
  t.after(async () => {
    for (const id of await processesOf(folder)) process.kill(Number(id), 'SIGKILL');
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', CHILD, ...images],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: temporary } },
    );
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    await sleep(8 + Math.random() * 40);
    child.kill('SIGKILL');
    assert.deepEqual(await ended, [null, 'SIGKILL']);
    assert.deepEqual(await leftOf(async () => await processesOf(folder)), [], `round ${round}`);
    for (const image of images) await run('qemu-io', '-f', 'qcow2', '-c', 'write 0 512', image);
  }
  // Where it was killed before there was a process that could remove it, a folder is empty.
  for (const name of await readdir(temporary)) {
    assert.deepEqual(await readdir(join(temporary, name)), []);
  }
});

test('a server that is closed as soon as it is ready ends, and so does its guard', async (t) => {
  const folder = await scratch(t);
  const path = await qcow2(folder, 'disk.qcow2');
  for (let tries = 0; tries < 20; tries += 1) {
    const image = { path, format: 'qcow2' } as const;
    const server = await startImageServer({ image, writable: tries % 2 === 1, clock });
    await server.close();
    assert.deepEqual(await processesOf(path), []);
  }
});

test('the folder of a dead server is removed by the next start, and no other', async (t) => {
  const folder = await scratch(t);
  const path = await qcow2(folder, 'disk.qcow2');
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  t.after(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  const leave = async (name: string): Promise<string> => {
    const left = join(folder, `holdfast-nbd-${name}`);
    await mkdir(left);
    return left;
  };
  const dead = await leave('dead00');
  const killed = await serve(t, join(dead, 'nbd'), [
    'qemu-nbd',
    '-r',
    '-t',
    '-f',
    'qcow2',
    '-k',
    join(dead, 'nbd'),
    '--pid-file',
    join(dead, 'pid'),
    path,
  ]);
  while (!existsSync(join(dead, 'pid'))) await sleep(5);
  const gone = once(killed, 'exit');
  killed.kill('SIGKILL');
  await gone;
  assert.deepEqual((await readdir(dead)).toSorted(), ['nbd', 'pid']);
  // As seen from another container: nobody has this id, but somebody listens.
  const elsewhere = await leave('other0');
  await serve(t, join(elsewhere, 'nbd'), [
    'qemu-nbd',
    '-r',
    '-t',
    '-f',
    'qcow2',
    '-k',
    join(elsewhere, 'nbd'),
    path,
  ]);
  await run('nbdinfo', '--size', `nbd+unix:///?socket=${join(elsewhere, 'nbd')}`);
  await writeFile(join(elsewhere, 'pid'), '99999999\n');
  const starting = await leave('start0');
  const image = { path, format: 'qcow2' } as const;
  const server = await startImageServer({ image, writable: false, clock });
  assert.ok(!existsSync(dead));
  assert.ok(existsSync(join(elsewhere, 'nbd')) && existsSync(starting));
  await server.close();
  const left = (await readdir(folder)).filter((name) => name.startsWith('holdfast-nbd-'));
  assert.deepEqual(left.toSorted(), ['holdfast-nbd-other0', 'holdfast-nbd-start0']);
});

test('an image that a server of ours holds is not said to be in use by a VM', async (t) => {
  const folder = await scratch(t);
  const path = await qcow2(folder, 'disk.qcow2');
  const image = { path, format: 'qcow2' } as const;
  const server = await startImageServer({ image, writable: true, clock });
  await assert.rejects(prepareSource({ location: path, clock }), {
    code: 'DiskInUse',
    message: /disk\.qcow2" is in use by another Holdfast command, .*run again when that has ended$/,
  });
  await server.close();

  const left = join(folder, 'holdfast-nbd-left00');
  await mkdir(left);
  // The shell goes at once, as a killed command would, and nobody guards.
  const command =
    'qemu-nbd --persistent --format qcow2 --socket "$0/nbd" "$1" >/dev/null 2>&1 & echo $!';
  const { stdout } = await promisify(execFile)('sh', ['-c', command, left, path]);
  const id = stdout.trim();
  t.after(() => process.kill(Number(id), 'SIGKILL'));
  while (!existsSync(join(left, 'nbd'))) await sleep(5);
  await run('nbdinfo', '--size', `nbd+unix:///?socket=${join(left, 'nbd')}`);
  await assert.rejects(prepareSource({ location: path, clock }), {
    code: 'DiskInUse',
    message: new RegExp(`in use by process ${id}, .* was killed: .*end it \\(kill ${id}\\)`),
  });
});
