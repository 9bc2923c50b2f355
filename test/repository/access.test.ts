/** Who may open a repository and who may not: passwords, newer formats, stores to read only, two machines. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import {
  initRepository,
  placeInFolder,
  type Repository,
  tryLock,
  verifyRepository,
} from '#repository';
import { ReadOnlyStore } from '#storage';
import { diskOf, fivePoints } from './faulted-operations.ts';
import { assertSound, assertWhole, visibleOf } from './soundness.ts';
import { fillUpTo, inTinyFileSystem } from './tiny-file-system.ts';
import { assertRestores, backUp, InlineBackup, World } from './world.ts';

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = new World({ seed: 31, memtableRecords: 256 });
  try {
    await work(world);
  } finally {
    world.remove();
  }
}

test('a wrong password is refused, none is asked for, the right one opens', () =>
  inWorld(async (world) => {
    const { clock, random } = world;
    const cost = { n: 1 << 14, r: 8, p: 1 };
    const access = { kdf: 'scrypt', password: 'right', cost } as const;
    const store = world.disk.store();
    await initRepository({ store, blockSize: 4096, access, label: 'mine', clock, random });
    const opening = (password?: string): Promise<Repository> => world.open({ password });
    await assert.rejects(opening('wrong'), { code: 'PasswordWrong', message: /tried: mine/ });
    await assert.rejects(opening(), { code: 'PasswordMissing' });
    await (await opening('right')).close();
  }));

test('a repository, a log entry and a checkpoint of a newer version are told from damage', () =>
  inWorld(async (world) => {
    await fivePoints(world);
    const { objects } = world.disk;
    const file = objects.get('repository.json')!;
    const newer = Buffer.from(file.toString().replace('"format":1', '"format":2'));
    objects.set('repository.json', newer);
    await assert.rejects(world.open(), { code: 'FormatUnsupported', message: /format 2/ });
    objects.set('repository.json', file);
    objects.get('log/00000000000000000004')![4] = 2;
    await assert.rejects(world.open(), { code: 'FormatUnsupported', message: /^log\/0*4 / });
    objects.get('log/00000000000000000004')![4] = 1;
    const repository = await world.open();
    await repository.parts.history.checkpoint({ always: true });
    await repository.close();
    for (const [name, bytes] of objects) if (name.startsWith('checkpoint/')) bytes[4] = 2;
    const again = await world.open();
    await assertSound(world, again, { item: 'web', disks: diskOf(30) });
    await again.close();
  }));

test('a store that can only be read serves restores and verification, also of what is damaged', () =>
  inWorld(async (world) => {
    await fivePoints(world);
    const options = { access: 'read', store: new ReadOnlyStore(world.disk.store()) } as const;
    let reader = await world.open(options);
    assert.equal(await reader.pin(visibleOf(reader)), false);
    await assertWhole(world, reader);
    await reader.close();
    const pack = [...world.disk.objects.keys()].find((name) => name.startsWith('packs/'))!;
    world.disk.flipBit(pack, 8 * 50);
    reader = await world.open(options);
    const verified = await verifyRepository(reader, { readDataPercent: 100 });
    assert.deepEqual([...new Set(verified.damage.map(({ object }) => object))], [pack]);
    await reader.close();
  }));

test('two machines that take a repository from each other lose nothing', () =>
  inWorld(async (world) => {
    await world.init();
    const machine = async (name: string, first: number): Promise<string[]> => {
      const folder = join(world.folder, name);
      mkdirSync(folder);
      const outcomes: string[] = [];
      for (let round = 0; round < 12; round += 1) {
        outcomes.push(await tryBackUp(world, { folder, first: first + round }));
      }
      return outcomes;
    };
    const outcomes = (await Promise.all([machine('one', 0), machine('two', 3)])).flat();
    assert.ok(outcomes.includes('committed'), outcomes.join(' '));
    assert.ok(outcomes.includes('OwnerChanged'), outcomes.join(' '));
    const repository = await world.open();
    const committed = outcomes.filter((outcome) => outcome === 'committed').length;
    assert.ok(visibleOf(repository).length >= committed);
    await assertSound(world, repository, { item: 'web', disks: diskOf(30) });
    await repository.close();
  }));

/** One command on one machine. @returns what became of it. */
async function tryBackUp(
  world: World,
  from: { readonly folder: string; readonly first: number },
): Promise<string> {
  let repository: Repository | undefined;
  try {
    repository = await world.open({ place: placeInFolder(from.folder) });
    const disks = diskOf(from.first);
    const backup = await InlineBackup.begin(repository, { item: from.folder, disks });
    world.expected.set(backup.session.point, disks);
    await backup.write();
    await backup.commit();
    return 'committed';
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return error.code;
  } finally {
    await repository?.abandon();
  }
}

test('an index cut, emptied, filled with garbage or half removed while closed is rebuilt', () =>
  inWorld(async (prepared) => {
    await fivePoints(prepared);
    for (const name of readdirSync(join(prepared.folder, 'index'))) {
      const harms: ((file: string) => void)[] = [
        (file) => truncateSync(file, 0),
        (file) => truncateSync(file, 4096),
        (file) => writeFileSync(file, Buffer.alloc(5000, 0x5a)),
        (file) => rmSync(file),
      ];
      for (const harm of harms) {
        const world = prepared.clone();
        harm(join(world.folder, 'index', name));
        writeFileSync(join(world.folder, 'index', 'stranger'), 'x');
        const repository = await world.open();
        assert.notEqual(repository.rebuilt, undefined, name);
        await assertRestores(world, repository);
        await backUp(world, repository, { item: 'web', disks: diskOf(30) });
        await repository.close();
        const again = await world.open();
        await assertWhole(world, again);
        await again.close();
        world.remove();
      }
    }
  }));

test('a block whose newest copy is damaged is read from the other', () =>
  inWorld(async (world) => {
    await fivePoints(world);
    let repository = await world.open();
    const packs = [...repository.state.packs].filter(([, { kind }]) => kind === 'data');
    const [id] = packs[0]!;
    const name = `packs/${id.slice(0, 2)}/${id}`;
    const whole = Buffer.from(world.disk.objects.get(name)!);
    world.disk.flipBit(name, 8 * 50);
    await verifyRepository(repository, { readDataPercent: 100 });
    // The first backup's content once more: its blocks are stored again.
    await backUp(world, repository, { item: 'web', disks: diskOf(1) });
    const healing = [...repository.state.packs].findLast(([, { kind }]) => kind === 'data')![0];
    await repository.close();
    assert.notEqual(healing, id);
    repository = await world.open();
    await assertWholeButFor(world, repository, name);
    // What is logged as damaged stays out of use, even if its bytes are back.
    world.disk.objects.set(name, whole);
    await assertRestores(world, repository);
    await repository.close();
  }));

async function assertWholeButFor(
  world: World,
  repository: Repository,
  name: string,
): Promise<void> {
  const verified = await verifyRepository(repository, { readDataPercent: 100 });
  assert.deepEqual([...new Set(verified.damage.map(({ object }) => object))], [name]);
  assert.deepEqual(verified.points, []);
  await assertRestores(world, repository);
}

test('a lock file on a file system that cannot be written is refused, not half locked; on a full one it is taken', () =>
  inTinyFileSystem('1m', async (root, remount) => {
    const file = join(root, 'locks', 'owner');
    fillUpTo(root, 0);
    const lock = tryLock(file);
    assert.ok(lock !== undefined);
    assert.equal(tryLock(file), undefined);
    lock.release();
    remount('ro');
    for (const one of [file, join(root, 'locks', 'other')]) {
      assert.throws(() => tryLock(one), { code: 'StoreReadOnly' });
    }
  }));
