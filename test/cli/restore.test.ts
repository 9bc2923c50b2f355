/** `holdfast repo restore`: whole or not at all, and never over what is there unless told. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ended,
  fail,
  json,
  MEBIBYTE,
  noise,
  start,
  succeed,
  temporaryFolder,
  withoutPasswords,
  writeDisk,
} from './holdfast.ts';

type Restored = {
  readonly pointId: string;
  readonly item: string;
  readonly leftOut: readonly string[];
  readonly disks: readonly { name: string; path: string; size: number; written: number }[];
  readonly seconds: number;
};

withoutPasswords();
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
const restore = (...more: string[]): string[] => ['repo', 'restore', repo, ...more];
let first: string;
let old: Buffer;
let current: Buffer;

before(async () => {
  await succeed(['repo', 'init', repo, '--no-encryption']);
  old = writeDisk(at('disk.raw'));
  writeDisk(at('data.raw'), { seed: 5 });
  const args = [
    'repo',
    'backup',
    repo,
    '--item',
    'web',
    '--disk',
    `vda=${at('disk.raw')}`,
    '--disk',
    `vdb=${at('data.raw')}`,
  ];
  first = (await json<{ pointId: string }>(args)).pointId;
  current = Buffer.from(old);
  noise(300_000, 9).copy(current, 1_000_000);
  writeFileSync(at('disk.raw'), current);
  await succeed(args);
});

describe('restore', () => {
  test('writes the newest and an older point, sparse, bit for bit', async () => {
    const made = await json<Restored>(restore('latest', '--disk', `vda=${at('new.raw')}`));
    assert.deepEqual(Object.keys(made), ['pointId', 'item', 'disks', 'leftOut', 'seconds']);
    assert.deepEqual([made.item, made.leftOut], ['web', ['vdb']]);
    assert.equal(made.seconds, Math.round(made.seconds * 1000) / 1000);
    assert.equal(made.disks[0]!.size, 4 * MEBIBYTE);
    assert.ok(readFileSync(at('new.raw')).equals(current));
    assert.ok(statSync(at('new.raw')).blocks * 512 < 3 * MEBIBYTE, 'holes stay holes');
    await succeed(restore(first, '--disk', `vda=${at('old.raw')}`));
    assert.ok(readFileSync(at('old.raw')).equals(old));
  });

  test('writes several disks at once, to qcow2 too', async () => {
    const outputs = ['--disk', `vda=${at('a.qcow2')}`, '--disk', `vdb=${at('b.image')}`];
    await succeed(restore('latest', ...outputs, '--format', 'vdb=qcow2'));
    execFileSync('qemu-img', [
      'compare',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'raw',
      at('a.qcow2'),
      at('disk.raw'),
    ]);
    execFileSync('qemu-img', [
      'compare',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'raw',
      at('b.image'),
      at('data.raw'),
    ]);
  });

  test('refuses what exists, and changes it with --overwrite where it differs', async () => {
    writeFileSync(at('there.raw'), old);
    const args = restore('latest', '--disk', `vda=${at('there.raw')}`);
    await fail(args, { code: 1, says: /there\.raw" exists already; .*--overwrite/ });
    assert.ok(readFileSync(at('there.raw')).equals(old));
    const made = await json<Restored>([...args, '--overwrite']);
    assert.ok(readFileSync(at('there.raw')).equals(current));
    assert.ok(made.disks[0]!.written < MEBIBYTE, `written: ${made.disks[0]!.written}`);
  });

  test('sums up for people what it did', async () => {
    const { stdout } = await succeed(restore('latest', '--disk', `vda=${at('people.raw')}`));
    assert.match(
      stdout,
      /^Restored the recovery point \d+ of web in .*\n\nDISK +SIZE +WRITTEN +TO\nvda +4\.00 MiB.*\n\nLeft out, .*: vdb\.\n$/,
    );
  });
});

describe('what cannot be restored', () => {
  before(() => mkdirSync(at('folder.raw')));
  const out = ['--disk', `vda=${at('no.raw')}`];
  const cases: readonly (readonly [string, () => string[], RegExp, 1 | 2])[] = [
    ['an unknown point', () => restore('999999', ...out), /no recovery point "999999"; list/, 1],
    [
      'an unknown disk',
      () => restore('latest', '--disk', `vdz=${at('no.raw')}`),
      /no disk vdz: it has vda, vdb/,
      1,
    ],
    ['no disk', () => restore('latest'), /no disk: name one/, 2],
    ['a disk without output', () => restore('latest', '--disk', 'vda'), /write DISK=VALUE/, 2],
    [
      'a folder as output',
      () => restore('latest', '--disk', `vda=${at('folder.raw')}`, '--overwrite'),
      /is a folder: name a file in it/,
      1,
    ],
    [
      'an output in no folder',
      () => restore('latest', '--disk', 'vda=/nowhere/x.raw'),
      /there is no folder "\/nowhere"/,
      1,
    ],
    ['the beginning of an id too short', () => restore('1', ...out), /at least 6 digits/, 1],
    [
      'an output in the repository',
      () => restore('latest', '--disk', `vda=${join(repo, 'packs/x.raw')}`),
      /lies in the repository/,
      1,
    ],
    ['an unclear format', () => restore('latest', '--disk', `vda=${at('no')}`), /--format/, 1],
    ['an unknown format', () => restore('latest', ...out, '--format', 'vda=floppy'), /"floppy"/, 1],
    [
      'one output for two disks',
      () => restore('latest', ...out, '--disk', `vdb=${at('no.raw')}`),
      /output is there twice/,
      1,
    ],
    ['another repository', () => ['repo', 'restore', 's3://x/y', 'latest', ...out], /s3:/, 1],
  ];
  for (const [what, args, says, code] of cases) {
    test(`${what}: one line, exit ${code}, nothing written`, async () => {
      await fail(args(), { code, says });
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith('no')),
        [],
      );
    });
  }

  test('an output in a folder that cannot be written', async () => {
    mkdirSync(at('locked'), { mode: 0o500 });
    const args = restore('latest', '--disk', `vda=${at('locked/x.raw')}`);
    await fail(
      args,
      { code: 1, says: /locked\/x\.raw.*(EACCES|permission)/ },
      { isBoundByPermissions: true },
    );
  });
});

test('Ctrl-C leaves no half image', async () => {
  writeFileSync(at('large.raw'), noise(160 * MEBIBYTE, 7));
  await succeed(['repo', 'backup', repo, '--item', 'large', '--disk', `vda=${at('large.raw')}`]);
  const child = start(restore('latest', '--item', 'large', '--disk', `vda=${at('half.raw')}`));
  const result = ended(child);
  while (!existsSync(at('half.raw.partial'))) await sleep(10);
  await sleep(30);
  child.kill('SIGINT');
  const { code, stderr } = await result;
  assert.equal(code, 130);
  assert.match(stderr, /^holdfast: cancelled: new images were removed[^\n]*\n$/);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('half')),
    [],
  );
});

test('damage of the repository is an error that names the disk, and leaves no image', async () => {
  const damaged = at('damaged');
  execFileSync('cp', ['-r', repo, damaged]);
  for (const name of readdirSync(join(damaged, 'packs'), { recursive: true, encoding: 'utf8' })) {
    const path = join(damaged, 'packs', name);
    if (statSync(path).isFile() && statSync(path).size > MEBIBYTE) damagePack(path);
  }
  const args = ['repo', 'restore', damaged, first, '--disk', `vda=${at('broken.raw')}`];
  await fail(args, { code: 1, says: /vda/ });
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('broken')),
    [],
  );
});

/** Flips bytes of every frame. */
function damagePack(path: string): void {
  const pack = readFileSync(path);
  for (let at = 5000; at < pack.length - 50_000; at += 50_000)
    pack.writeUInt8(pack[at]! ^ 0xff, at);
  writeFileSync(path, pack);
}
