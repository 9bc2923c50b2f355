/** `holdfast repo backup` and what it leaves to see: `points`, `show`, `stats`, `verify`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  fail,
  json,
  MEBIBYTE,
  run,
  succeed,
  temporaryFolder,
  TerminalSession,
  writeDisk,
} from './holdfast.ts';

type Backup = {
  readonly pointId: string;
  readonly disks: readonly Readonly<Record<'size' | 'read' | 'changed' | 'stored', number>>[];
  readonly seconds: number;
};
type Points = {
  readonly points: readonly {
    readonly id: string;
    readonly item: string;
    readonly time: number;
    readonly disks: readonly Readonly<Record<string, unknown>>[];
    readonly freedIfExpired: number;
  }[];
};

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
const backup = (...more: string[]): string[] => ['repo', 'backup', repo, ...more];
const BLOCK = 16_384;

before(async () => {
  await succeed(['repo', 'init', repo]);
  writeDisk(at('disk.raw'));
});

describe('backup', () => {
  test('takes a point, with exactly the promised names', async () => {
    const first = await json<Backup>(backup('--item', 'web', '--disk', `vda=${at('disk.raw')}`));
    assert.deepEqual(Object.keys(first), ['pointId', 'disks', 'seconds']);
    assert.deepEqual(Object.keys(first.disks[0]!), ['name', 'size', 'read', 'changed', 'stored']);
    assert.match(first.pointId, /^\d{15,18}$/);
    const { size, changed, stored } = first.disks[0]!;
    assert.deepEqual([size, changed], [4 * MEBIBYTE, 2 * MEBIBYTE]);
    assert.ok(stored > 2 * MEBIBYTE && stored < 2.2 * MEBIBYTE, `stored ${stored}`);
  });

  test('stores nothing where nothing changed', async () => {
    const again = await json<Backup>(backup('--item', 'web', '--disk', `vda=${at('disk.raw')}`));
    assert.deepEqual([again.disks[0]!.changed, again.disks[0]!.stored], [0, 0]);
  });

  test('takes several disks in several formats', async () => {
    execFileSync('qemu-img', ['convert', '-q', '-O', 'qcow2', at('disk.raw'), at('data.image')]);
    const args = ['--disk', `vda=${at('disk.raw')}`, '--disk', `vdb=${at('data.image')}`];
    const both = await json<Backup>(backup('--item', 'db', ...args, '--format', 'vdb=qcow2'));
    assert.equal(both.disks.length, 2);
    assert.ok(both.disks[0]!.stored + both.disks[1]!.stored < MEBIBYTE / 4, 'blocks are shared');
  });

  test('reads a backing file elsewhere only if it is allowed by name', async () => {
    mkdirSync(at('overlays'));
    const create = [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'raw',
      '-b',
      at('disk.raw'),
      at('overlays/o.qcow2'),
    ];
    execFileSync('qemu-img', create);
    const args = backup('--item', 'overlay', '--disk', `vda=${at('overlays/o.qcow2')}`);
    await fail(args, {
      code: 1,
      says: /disk\.raw", which is outside its folder.*; pass --allow-file /,
    });
    await succeed([...args, '--allow-file', at('disk.raw')]);
  });

  test('reads only where a hint says, and a sample', async () => {
    const disk = writeDisk(at('hinted.raw'), { seed: 3 });
    const args = ['--item', 'hinted', '--disk', `vda=${at('hinted.raw')}`];
    await succeed(backup(...args));
    disk[BLOCK * 3] = disk[BLOCK * 3]! ^ 1;
    writeFileSync(at('hinted.raw'), disk);
    writeFileSync(at('hint.json'), JSON.stringify([{ offset: BLOCK * 3, length: 1 }]));
    const hinted = await json<Backup>(
      backup(...args, '--changed-only-hint', `vda=${at('hint.json')}`),
    );
    assert.equal(hinted.disks[0]!.changed, BLOCK);
  });

  test('sums up for people what it did', async () => {
    const { stdout } = await succeed(backup('--item', 'web', '--disk', `vda=${at('disk.raw')}`));
    assert.match(stdout, /^Recovery point \d+ of web, taken in .*MiB\/s\)/);
    assert.match(stdout, /DISK +SIZE +READ +CHANGED +ADDED TO REPOSITORY\nvda +4\.00 MiB/);
  });

  test('a disk of 0 bytes is backed up with a warning', async () => {
    writeFileSync(at('empty.raw'), '');
    const args = backup('--item', 'hollow', '--disk', `vda=${at('empty.raw')}`);
    assert.match((await succeed(args)).stderr, /^holdfast: warning: the disk vda has 0 bytes/);
  });

  test('shows its progress on a terminal, in one line that is gone at the end', async () => {
    const args = ['--item', 'big', '--disk', `vda=${at('disk.raw')}`];
    const session = new TerminalSession(backup(...args), { password: 'correct horse' });
    assert.equal(await session.end(), 0, session.shown);
    assert.match(session.shown, /Recovery point/);
    const lastDrawn = session.shown.lastIndexOf('\r\u001b[K');
    assert.ok(lastDrawn < session.shown.indexOf('Recovery point'));
    assert.match(session.shown, /opening the repository/);
  });
});

describe('points, show and stats', () => {
  test('points lists oldest first, with exactly the promised names', async () => {
    const { points } = await json<Points>(['repo', 'points', repo, '--item', 'web']);
    assert.ok(points.length >= 2);
    for (const name of ['id', 'item', 'time', 'disks', 'freedIfExpired']) {
      assert.ok(name in points[0]!, name);
    }
    assert.deepEqual(Object.keys(points[0]!.disks[0]!), ['name', 'size', 'owned', 'ownedStored']);
    assert.ok(points.every(({ item }) => item === 'web'));
    assert.ok(points[0]!.time <= points[1]!.time && points[0]!.time > 1.7e9);
    assert.equal(points[0]!.disks[0]!['owned'], 2 * MEBIBYTE);
  });

  test('an item without points fails, and those that have some are listed', async () => {
    const args = ['repo', 'points', repo, '--item', 'nobody'];
    await fail(args, { code: 1, says: /no recovery point of nobody: the items are big, db, / });
  });

  test('a repository without points is an empty list, not a failure', async () => {
    await succeed(['repo', 'init', at('fresh')]);
    const args = ['repo', 'points', at('fresh')];
    assert.deepEqual(await json<Points>(args), { points: [] });
    assert.equal((await succeed([...args, '--item', 'web'])).stdout, 'No recovery points yet.\n');
  });

  test('points are a table for people', async () => {
    const { stdout } = await succeed(['repo', 'points', repo]);
    assert.match(
      stdout,
      /^POINT +ITEM +TIME +DISKS +SIZE +OWNED +STORED +FREED IF EXPIRED\n\d{15,18} /,
    );
    assert.match(stdout, /vda vdb/);
  });

  test('show takes an id, the beginning of one, or latest', async () => {
    const { points } = await json<Points>(['repo', 'points', repo, '--item', 'db']);
    const [{ id }] = points as [Points['points'][number]];
    for (const text of [id, id.slice(0, 12), 'latest']) {
      const shown = await json<{ id: string; disks: unknown[] }>([
        'repo',
        'show',
        repo,
        text,
        '--item',
        'db',
      ]);
      assert.deepEqual([shown.id, shown.disks.length], [id, 2]);
    }
    assert.match(
      (await succeed(['repo', 'show', repo, id])).stdout,
      /Item +db[\s\S]*vdb +4\.00 MiB/,
    );
  });

  test('a point that is not there, or not clear, is one line', async () => {
    await fail(['repo', 'show', repo, '999999'], {
      code: 1,
      says: /no recovery point "999999"; list/,
    });
    for (const short of ['', '1', '17000']) {
      await fail(['repo', 'show', repo, short], { code: 1, says: /at least 6 digits/ });
    }
    await fail(['repo', 'show', repo, 'latest'], {
      code: 1,
      says: /several items: name one with --item \(the items are big, db, /,
    });
    const none = ['repo', 'show', repo, 'latest', '--item', 'nobody'];
    await fail(none, {
      code: 1,
      says: /no recovery point of nobody: the items are big, db, .*PointNotFound/,
    });
  });

  test('stats tells stored, live and dead bytes', async () => {
    const stats = await json<Record<string, number>>(['repo', 'stats', repo]);
    for (const name of ['storedBytes', 'liveBytes', 'deadBytes', 'points', 'blocks', 'packs']) {
      assert.equal(typeof stats[name], 'number', name);
    }
    assert.equal(
      stats['storedBytes'],
      stats['liveBytes']! + stats['deadBytes']! + stats['overheadBytes']!,
    );
    const { stdout } = await succeed(['repo', 'stats', repo]);
    assert.match(stdout, /^stored +[\d.]+ MiB/m);
    assert.match(stdout, /^deleted +0 B +packs deleted by compaction so far, whole/m);
    assert.doesNotMatch(stdout, /reclaimed|freed by/);
  });
});

describe('wrong usage of backup', () => {
  const disk = (name = 'disk.raw'): string[] => ['--disk', `vda=${at(name)}`];
  const cases: readonly (readonly [string, string[], RegExp])[] = [
    ['no disk', [], /no disk: name one/],
    ['a disk without a path', ['--disk', 'vda'], /write DISK=VALUE, for example --disk vda=/],
    ['a disk named twice', [...disk(), ...disk()], /names the disk vda twice/],
    ['a disk with a strange name', ['--disk', '../x=y'], /is not the name of a disk/],
    ['a format of another disk', [...disk(), '--format', 'vdb=raw'], /vdb, which no --disk names/],
    [
      'a hint of another disk',
      [...disk(), '--changed-only-hint', 'vdb=x'],
      /vdb, which no --disk names/,
    ],
  ];
  for (const [what, args, says] of cases) {
    test(`${what} is exit 2`, () => fail(backup('--item', 'x', ...args), { code: 2, says }));
  }

  test('an empty item is exit 2', () =>
    fail(backup('--item', ' ', ...disk()), { code: 2, says: /--item is empty/ }));

  test('an item whose name cannot be read off the screen is exit 2, in one line', async () => {
    for (const item of ['web\n', ' web', 'w\u001b[2Jeb', 'w\u202eeb', 'w'.repeat(201)]) {
      await fail(backup('--item', item, ...disk()), { code: 2, says: /--item .*\[Usage\]/ });
    }
  });

  test('so is a disk with such a name', async () => {
    const says = /is not the name of a disk: .*\[Usage\]/;
    for (const name of ['v\nda', ' vda', 'vda ', 'v\u001b[2J', '', 'v'.repeat(64)]) {
      const args = backup('--item', 'x', '--disk', `${name}=${at('disk.raw')}`);
      await fail(args, { code: 2, says });
    }
  });
});

describe('disks that cannot be backed up', () => {
  const take = (...more: string[]): string[] => backup('--item', 'no', ...more);
  before(() => {
    mkdirSync(at('folder.raw'));
    writeFileSync(at('unclear'), 'x');
    writeFileSync(at('no-image.qcow2'), 'this is no qcow2');
    writeFileSync(at('bad.json'), '[{"offset":1}]');
  });

  const cases: readonly (readonly [string, string[], RegExp])[] = [
    [
      'a file that is not there',
      ['--disk', `vda=${at('x.raw')}`],
      /: there is no file "[^"]*x\.raw"/,
    ],
    ['a file in no folder', ['--disk', 'vda=/nowhere/x.raw'], /no folder "\/nowhere"/],
    ['a folder', ['--disk', `vda=${at('folder.raw')}`], /folder\.raw/],
    ['an unclear format', ['--disk', `vda=${at('unclear')}`], /--format/],
    [
      'an unknown format',
      ['--disk', `vda=${at('disk.raw')}`, '--format', 'vda=floppy'],
      /"floppy".*raw, qcow2/,
    ],
    [
      'a wrong format',
      ['--disk', `vda=${at('no-image.qcow2')}`],
      /cannot open "[^"]*no-image\.qcow2" as qcow2: if .* name that; .*\(.*\); pass --format DISK=FORMAT: raw, qcow2.* \[/,
    ],
    [
      'a server that is not there',
      ['--disk', 'vda=nbd+unix:///?socket=/nowhere.sock'],
      /cannot connect to "[^"]*nowhere\.sock": .*check the server.*\(.*ENOENT.*\) \[/,
    ],
    [
      'a hint that is not there',
      ['--disk', `vda=${at('disk.raw')}`, '--changed-only-hint', 'vda=/none.json'],
      /\/none\.json": there is no such file/,
    ],
    [
      'a hint that is none',
      ['--disk', `vda=${at('disk.raw')}`, '--changed-only-hint', `vda=${at('bad.json')}`],
      /bad\.json" cannot be used: entry 0: "length"/,
    ],
  ];
  for (const [what, args, says] of cases) {
    test(`${what}: one line, exit 1`, () => fail(take(...args), { code: 1, says }));
  }

  test('none of them left a point, or damage', async () => {
    const { points } = await json<Points>(['repo', 'points', repo]);
    assert.ok(points.every(({ item }) => item !== 'no'));
    await succeed(['repo', 'verify', repo, '--read-data']);
  });
});

describe('repositories that cannot take a backup', () => {
  const into = (place: string): string[] => [
    'repo',
    'backup',
    place,
    '--item',
    'x',
    '--disk',
    `vda=${at('disk.raw')}`,
  ];

  test('one that is not there, an empty folder and a bucket are named', async () => {
    mkdirSync(at('empty'));
    await fail(into(at('none')), {
      code: 1,
      says: /no folder .*none: is its disk mounted\? .*repo init/,
    });
    await fail(into(at('empty')), { code: 1, says: /empty/ });
    await fail(into('s3://bucket/x'), { code: 1, says: /s3:\/\// });
    assert.deepEqual(readdirSync(at('empty')), []);
  });

  test('one that cannot be written is refused, and can still be listed and verified', async () => {
    cpSync(repo, at('frozen'), { recursive: true });
    execFileSync('chmod', ['-R', 'a-w', at('frozen')]);
    const bound = { isBoundByPermissions: true };
    await fail(into(at('frozen')), { code: 1, says: /permission|writ/ }, bound);
    assert.equal((await run(['repo', 'points', at('frozen')], bound)).code, 0);
    assert.equal((await run(['repo', 'verify', at('frozen'), '--read-data'], bound)).code, 0);
    execFileSync('chmod', ['-R', 'u+w', at('frozen')]);
    chmodSync(at('frozen'), 0o700);
  });
});
