/** `holdfast repo serve`: a point's disk as others see it, until Ctrl-C. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ended,
  fail,
  MEBIBYTE,
  start,
  succeed,
  temporaryFolder,
  writeDisk,
  type Run,
} from './holdfast.ts';

const execute = promisify(execFile);
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
let disk: Buffer;

before(async () => {
  await succeed(['repo', 'init', repo]);
  disk = writeDisk(at('disk.raw'));
  await succeed(['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
});

const args = (socket: string, ...more: string[]): string[] => [
  'repo',
  'serve',
  repo,
  'latest',
  '--disk',
  'vda',
  '--socket',
  at(socket),
  ...more,
];

/** Serves while `use` runs, then presses Ctrl-C. */
async function whileServing(socket: string, use: () => Promise<void>): Promise<Run> {
  const child = start(args(socket, '--json'));
  const result = ended(child);
  for (let tries = 0; !existsSync(at(socket)) && tries < 200; tries += 1) await sleep(50);
  try {
    await use();
  } finally {
    child.kill('SIGINT');
  }
  return await result;
}

test('the disk is read bit for bit, the result is one JSON document, Ctrl-C is exit 0', async () => {
  const uri = `nbd+unix:///?socket=${at('s.sock')}`;
  const { code, stdout } = await whileServing('s.sock', async () => {
    await execute('nbdcopy', [uri, at('copy.raw')]);
  });
  assert.ok(readFileSync(at('copy.raw')).equals(disk));
  assert.equal(code, 0);
  const served = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([served['disk'], served['size']], ['vda', 4 * MEBIBYTE]);
  assert.match(String(served['uri']), /^nbd\+unix:/);
  assert.ok(!existsSync(at('s.sock')), 'the socket is removed');
});

test('a writable overlay lies on top', async () => {
  const uri = `nbd+unix:///?socket=${at('o.sock')}`;
  await whileServing('o.sock', async () => {
    await execute('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'raw',
      '-b',
      uri,
      at('o.qcow2'),
    ]);
    await execute('qemu-io', ['-c', 'write -P 7 0 64k', '-c', 'read -P 7 0 64k', at('o.qcow2')]);
  });
});

test('expiring a point that is served lets it be read to the end', async () => {
  const point = JSON.parse((await succeed(['repo', 'points', repo, '--json'])).stdout) as {
    points: { id: string }[];
  };
  const uri = `nbd+unix:///?socket=${at('e.sock')}`;
  await whileServing('e.sock', async () => {
    await succeed(['repo', 'expire', repo, point.points[0]!.id]);
    await succeed(['repo', 'compact', repo]);
    await execute('nbdcopy', [uri, at('expired.raw')]);
  });
  assert.ok(readFileSync(at('expired.raw')).equals(disk));
  await succeed(['repo', 'verify', repo, '--read-data']);
  await succeed(['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
});

test('what cannot be served is one line', async () => {
  await fail(['repo', 'serve', repo, 'latest'], { code: 2, says: /--disk/ });
  await fail(['repo', 'serve', repo, 'latest', '--disk', 'vda'], { code: 2, says: /--socket/ });
  const other = ['repo', 'serve', repo, 'latest', '--disk', 'vdz', '--socket', at('x.sock')];
  await fail(other, { code: 1, says: /no disk vdz: it has vda/ });
  await fail(args('x'.repeat(100)), { code: 2, says: /at most 107 bytes/ });
  await fail(args('none/x.sock'), { code: 1, says: /no folder for the socket/ });
  writeFileSync(at('file'), 'mine');
  await fail(args('file'), { code: 1, says: /file" exists/ });
  assert.equal(execFileSync('cat', [at('file')], { encoding: 'utf8' }), 'mine');
});
