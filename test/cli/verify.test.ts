/** `holdfast repo verify` and `rebuild-index`: damage is found, named, and healed. */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  fail,
  json,
  MEBIBYTE,
  run,
  succeed,
  temporaryFolder,
  withoutPasswords,
  writeDisk,
} from './holdfast.ts';

type Verified = {
  readonly ok: boolean;
  readonly checked: Readonly<Record<string, number>>;
  readonly damage: readonly {
    readonly object: string;
    readonly code: string;
    readonly why: string;
    readonly points?: readonly {
      readonly point: string;
      readonly item: string;
      readonly disks: readonly string[];
    }[];
  }[];
  readonly points: readonly {
    readonly point: string;
    readonly item: string;
    readonly disks: readonly { readonly name: string; readonly lostBlocks: number }[];
  }[];
  readonly indexAgrees: boolean;
};

withoutPasswords();
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');

before(async () => {
  await succeed(['repo', 'init', repo, '--no-encryption']);
  writeDisk(at('disk.raw'));
  await succeed(['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
});

function copyOfRepo(name: string): string {
  cpSync(repo, at(name), { recursive: true });
  return at(name);
}

function packsOf(repository: string): string[] {
  const packs = join(repository, 'packs');
  const files = readdirSync(packs, { recursive: true, encoding: 'utf8' })
    .map((name) => join(packs, name))
    .filter((path) => statSync(path).isFile());
  return files.toSorted((a, b) => statSync(b).size - statSync(a).size);
}

function largestPack(repository: string): string {
  return packsOf(repository)[0]!;
}

async function verifyDamaged(repository: string, ...more: string[]): Promise<Verified> {
  const { code, stdout, stderr } = await run(['repo', 'verify', repository, ...more, '--json']);
  assert.equal(code, 1);
  assert.match(stderr, /^holdfast: the repository in [^\n]* is damaged: [^\n]*\n$/);
  return JSON.parse(stdout) as Verified;
}

describe('verify', () => {
  test('finds nothing in a sound repository, and says what it checked', async () => {
    const found = await json<Verified>(['repo', 'verify', repo]);
    assert.deepEqual([found.ok, found.damage, found.indexAgrees], [true, [], true]);
    assert.deepEqual([found.checked['points'], found.checked['readBytes']], [1, 0]);
    const { stdout } = await succeed(['repo', 'verify', repo, '--read-data']);
    assert.match(stdout, /^No damage, checked in .* 1 point, .*MiB of data read and checked\.\n$/);
  });

  test('--read-data takes a percentage, attached or not, and no repository for one', async () => {
    for (const args of [['--read-data=50'], ['--read-data', '50%'], ['--read-data=0.1']]) {
      const { checked } = await json<Verified>(['repo', 'verify', repo, ...args]);
      assert.ok(checked['readBytes']! > 0);
    }
    const all = await json<Verified>(['repo', 'verify', '--read-data', repo]);
    assert.ok(all.checked['readBytes']! > 2 * MEBIBYTE);
    for (const percent of ['0', '101', 'much']) {
      const says = /--read-data "[^"]*" is not a percentage/;
      await fail(['repo', 'verify', repo, `--read-data=${percent}`], { code: 2, says });
    }
  });

  test('names a flipped byte of data, the disk and point it touches, and what to do', async () => {
    const damaged = copyOfRepo('flipped');
    const pack = largestPack(damaged);
    const bytes = readFileSync(pack);
    bytes[1000] = bytes[1000]! ^ 1;
    writeFileSync(pack, bytes);
    assert.equal((await run(['repo', 'verify', damaged])).code, 0, 'only reading data can find it');

    const found = await verifyDamaged(damaged, '--read-data');
    assert.equal(found.ok, false);
    assert.ok(pack.endsWith(found.damage[0]!.object));
    assert.deepEqual(
      found.points.map(({ item, disks }) => [item, disks[0]!.name, disks[0]!.lostBlocks > 0]),
      [['web', 'vda', true]],
    );
    const { point } = found.points[0]!;
    for (const { code, points } of found.damage) {
      assert.deepEqual([code, points], ['ObjectDamaged', [{ point, item: 'web', disks: ['vda'] }]]);
    }
    const people = await run(['repo', 'verify', damaged, '--read-data']);
    assert.equal(people.code, 1);
    assert.match(
      people.stdout,
      /DAMAGED OBJECT +FRAME +POINTS TOUCHED +WHY\npacks\/.* 1 .* \[ObjectDamaged\]\n/,
    );
    assert.match(
      people.stdout,
      /POINT +ITEM +DISK +LOST BLOCKS[\s\S]*web +vda[\s\S]*What to do: back up web again/,
    );

    await succeed(['repo', 'backup', damaged, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
    const healed = await run(['repo', 'verify', damaged, '--read-data', '--json']);
    const { points } = JSON.parse(healed.stdout) as Verified;
    assert.deepEqual(points, [], 'the backup stored anew what was lost');
  });

  test('names a pack that is missing', async () => {
    const damaged = copyOfRepo('missing');
    const pack = largestPack(damaged);
    rmSync(pack);
    const found = await verifyDamaged(damaged);
    assert.ok(found.damage.some(({ object }) => pack.endsWith(object)));
    assert.equal(found.points.length, 1);
    const [whole] = found.damage;
    assert.equal(whole!.code, 'ObjectNotFound');
    assert.deepEqual(whole!.points?.[0]?.disks, ['vda']);

    rmSync(join(damaged, 'index'), { recursive: true });
    const without = await verifyDamaged(damaged);
    const again = without.damage.find(({ object }) => object === whole!.object);
    assert.equal(again!.points, undefined, 'nothing tells what it held');
    const people = await run(['repo', 'verify', damaged]);
    assert.match(people.stdout, / \? +[^\n]*\[ObjectNotFound\]\n/);
  });
});

test('a missing pack of pages and a damaged manifest name their point too', async () => {
  const damaged = copyOfRepo('pages');
  const pages = packsOf(damaged).at(-1)!;
  rmSync(pages);
  const manifests = readdirSync(join(damaged, 'points'), { recursive: true, encoding: 'utf8' });
  const manifest = manifests.find((name) => statSync(join(damaged, 'points', name)).isFile())!;
  writeFileSync(join(damaged, 'points', manifest), 'no manifest');
  const { damage, points } = await verifyDamaged(damaged);
  const { point, item } = points[0]!;
  assert.deepEqual(
    damage
      .filter(({ object }) => object !== 'index') // Without the pages its counts cannot be compared.
      .map(({ object, code, points: touched }) => [object, code, touched]),
    [
      [`points/${manifest}`, 'ObjectDamaged', [{ point, item, disks: [] }]],
      [pages.slice(damaged.length + 1), 'ObjectNotFound', [{ point, item, disks: ['vda'] }]],
    ],
  );
});

describe('rebuild-index', () => {
  test('makes the index anew; what is there stays', async () => {
    const rebuilt = copyOfRepo('rebuilt');
    const before = await json(['repo', 'points', rebuilt]);
    const { records } = await json<{ records: number }>(['repo', 'rebuild-index', rebuilt]);
    assert.ok(records > 128);
    assert.deepEqual(await json(['repo', 'points', rebuilt]), before);
    await succeed(['repo', 'verify', rebuilt, '--read-data']);
  });

  test('a lost index is made anew by whatever command comes next', async () => {
    const lost = copyOfRepo('lost');
    rmSync(join(lost, 'index'), { recursive: true });
    await succeed(['repo', 'restore', lost, 'latest', '--disk', `vda=${at('from-lost.raw')}`]);
    assert.ok(readFileSync(at('from-lost.raw')).equals(readFileSync(at('disk.raw'))));
    const args = ['repo', 'backup', lost, '--item', 'web', '--disk', `vda=${at('disk.raw')}`];
    const { stdout, stderr } = await succeed([...args, '--json']);
    assert.match(stderr, /^holdfast: warning: the index was rebuilt/);
    const { disks } = JSON.parse(stdout) as { disks: { stored: number }[] };
    assert.equal(disks[0]!.stored, 0);
  });

  test('a repository that is not there is one line', () =>
    fail(['repo', 'rebuild-index', at('none')], { code: 1, says: /no folder/ }));
});
