/** `holdfast repo expire`, `diff` and `compact`: what goes, what stays, what it gives back. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  fail,
  json,
  MEBIBYTE,
  noise,
  succeed,
  temporaryFolder,
  withoutPasswords,
  writeDisk,
} from './holdfast.ts';

type Expired = {
  readonly points: readonly string[];
  readonly mergedBlocks: number;
  readonly deletedBlocks: number;
  readonly freedBytes: number;
  readonly keptByReaders: readonly string[];
  readonly keep: readonly { readonly id: string; readonly why: readonly string[] }[];
  readonly items: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
};
type Stats = Readonly<Record<'storedBytes' | 'liveBytes' | 'deadBytes' | 'points', number>>;

withoutPasswords();
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
const BLOCK = 16_384;
const ids: string[] = [];
const expire = (...more: string[]): string[] => ['repo', 'expire', repo, ...more];

async function takePoint(item = 'web'): Promise<string> {
  const args = ['repo', 'backup', repo, '--item', item, '--disk', `vda=${at('disk.raw')}`];
  return (await json<{ pointId: string }>(args)).pointId;
}

before(async () => {
  await succeed(['repo', 'init', repo, '--no-encryption']);
  const disk = writeDisk(at('disk.raw'));
  for (let version = 0; version < 4; version += 1) {
    noise(10 * BLOCK, 50 + version).copy(disk, 0);
    writeFileSync(at('disk.raw'), disk);
    ids.push(await takePoint());
  }
});

describe('diff', () => {
  test('tells the ranges in which two points differ', async () => {
    const found = await json<{ from: string; to: string; disks: unknown[] }>([
      'repo',
      'diff',
      repo,
      ids[0]!,
      ids[1]!,
    ]);
    const disk = { name: 'vda', sizeFrom: 4 * MEBIBYTE, sizeTo: 4 * MEBIBYTE, changed: 10 * BLOCK };
    assert.deepEqual(found, {
      from: ids[0],
      to: ids[1],
      disks: [{ ...disk, ranges: [{ offset: 0, length: 10 * BLOCK }] }],
    });
    const { stdout } = await succeed(['repo', 'diff', repo, ids[0]!, 'latest', '--item', 'web']);
    assert.match(stdout, /DISK +SIZE BEFORE +SIZE AFTER +CHANGED +RANGES\nvda .* 160 KiB +1\n/);
  });

  test('the same point differs nowhere; an unknown one is one line', async () => {
    const same = await json<{ disks: { changed: number }[] }>([
      'repo',
      'diff',
      repo,
      ids[0]!,
      ids[0]!,
    ]);
    assert.equal(same.disks[0]!.changed, 0);
    await fail(['repo', 'diff', repo, ids[0]!, '999999'], {
      code: 1,
      says: /no recovery point "999999"/,
    });
  });
});

describe('expire', () => {
  test('--dry-run says what would go, what would stay and why, and changes nothing', async () => {
    const before = await json<Stats>(['repo', 'stats', repo]);
    const plan = await json<Expired>(expire('--keep-last', '3', '--keep-yearly', '1', '--dry-run'));
    assert.deepEqual([plan.points, plan.dryRun], [[ids[0]], true]);
    assert.deepEqual(plan.keep.find(({ id }) => id === ids[3])!.why[0], 'last');
    assert.equal(plan.keep.length, 3);
    assert.deepEqual(await json<Stats>(['repo', 'stats', repo]), before);
    const { stdout } = await succeed(expire('--keep-last', '3', '--dry-run'));
    assert.match(stdout, /^POINT +ITEM +TIME +WOULD +WHY\n\d+ +web +\S+ +expire\n/);
    assert.match(stdout, /1 point would expire and free [\d.]+ KiB; nothing was changed/);
    await succeed(expire(ids[0]!, '--dry-run'));
  });

  test('frees exactly what the plan and the list of points said', async () => {
    const before = await json<Stats>(['repo', 'stats', repo]);
    const plan = await json<Expired>(expire(ids[1]!, '--dry-run'));
    const done = await json<Expired>(expire(ids[1]!.slice(0, 12)));
    assert.deepEqual([done.points, done.dryRun], [[ids[1]], false]);
    assert.equal(done.freedBytes, plan.freedBytes);
    assert.equal(done.deletedBlocks, 10);
    const after = await json<Stats>(['repo', 'stats', repo]);
    assert.equal(before.liveBytes - after.liveBytes, done.freedBytes);
    assert.equal(after.points, 3);
  });

  test('tells people in the words merged, deleted and freed', async () => {
    const { stdout } = await succeed(expire(ids[0]!));
    assert.match(
      stdout,
      /^POINT +ITEM +TIME +WAS +WHY\n\d+ +web +\S+ +expired\n\nExpired 1 point\.\n118 blocks merged into later points, 10 blocks deleted, [\d.]+ KiB freed\./,
    );
    assert.match(stdout, /holdfast repo compact/);
  });

  test('keeps of each item by itself, or of one item only', async () => {
    const other = await takePoint('db');
    const kept = await json<Expired>(expire('--keep-last', '1', '--dry-run'));
    assert.deepEqual(kept.points, [ids[2]]);
    assert.ok(kept.keep.some(({ id }) => id === other));
    const none = await json<Expired>(expire('--keep-last', '1', '--item', 'db'));
    assert.deepEqual([none.points, none.mergedBlocks], [[], 0]);
    assert.deepEqual(none.items, { [other]: 'db' });
    const nobody = expire('--keep-last', '1', '--item', 'nobody');
    await fail(nobody, { code: 1, says: /no recovery point of nobody: the items are db, web/ });
  });

  test('what survives restores bit for bit, before and after compaction', async () => {
    const expected = readFileSync(at('disk.raw'));
    for (const name of ['before.raw', 'after.raw']) {
      await succeed(['repo', 'restore', repo, ids[3]!, '--disk', `vda=${at(name)}`]);
      assert.ok(readFileSync(at(name)).equals(expected));
      if (name === 'before.raw') await succeed(['repo', 'compact', repo]);
    }
    await succeed(['repo', 'verify', repo, '--read-data']);
  });

  const mistakes: readonly (readonly [string, string[], 1 | 2, RegExp])[] = [
    ['neither points nor rules', [], 2, /name the points, or say what to keep/],
    ['both points and rules', ['1', '--keep-last', '1'], 2, /not both/],
    ['rules that keep nothing', ['--keep-last', '0'], 2, /keep nothing/],
    [
      'a number that is none',
      ['--keep-daily', 'all'],
      2,
      /--keep-daily "all" is not a whole number/,
    ],
    ['a negative number', ['--keep-daily=-1'], 2, /--keep-daily "-1"/],
    ['a point that is not there', ['999999'], 1, /no recovery point "999999"/],
  ];
  for (const [what, args, code, says] of mistakes) {
    test(`${what}: one line, exit ${code}`, () => fail(expire(...args), { code, says }));
  }

  test('one unknown point among others expires none', async () => {
    await fail(expire(ids[3]!, '999999'), { code: 1, says: /999999/ });
    assert.equal((await json<Stats>(['repo', 'stats', repo])).points, 3);
  });

  test('a point that has expired is not there any more', () =>
    fail(expire(ids[0]!), { code: 1, says: /no recovery point/ }));
});

test('compact gives back what expiry freed, exactly as stats tell', async () => {
  for (const id of ids.slice(2)) await succeed(expire(id));
  const { points } = await json<{ points: { id: string }[] }>(['repo', 'points', repo]);
  for (const { id } of points) await succeed(expire(id));
  const before = await json<Stats>(['repo', 'stats', repo]);
  assert.equal(before.liveBytes, 0);
  const done = await json<{ packsDeleted: number; freedBytes: number; movedBytes: number }>([
    'repo',
    'compact',
    repo,
  ]);
  const after = await json<Stats>(['repo', 'stats', repo]);
  assert.equal(done.freedBytes, before.storedBytes - after.storedBytes);
  assert.equal(after.storedBytes, 0);
  assert.match((await succeed(['repo', 'compact', repo])).stdout, /0 packs deleted/);
});
