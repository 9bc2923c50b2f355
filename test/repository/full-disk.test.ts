/** Disks that are really full: the repository's, and that of its index alone. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import {
  compactRepository,
  expirePoints,
  markPacks,
  placeInFolder,
  repositoryStatistics,
  type Repository,
} from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { diskOf } from './faulted-operations.ts';
import { assertSound, assertWhole, visibleOf } from './soundness.ts';
import { fillUpTo, freeBytesOf, inTinyFileSystem } from './tiny-file-system.ts';
import { assertRestores, backUp, InlineBackup, World, type Disks } from './world.ts';

/** `count` contents from `first` on, each of about 150 bytes when compressed. */
function large(first: number, count: number): Disks {
  const image = new Map(Array.from({ length: count }, (_, at) => [at, first + at]));
  return new Map([['vda', { blocks: count, image }]]);
}

class FolderRepository {
  readonly world: World;
  readonly #root: string;
  readonly store: ObjectStore;

  constructor(world: World, root: string, store: ObjectStore) {
    this.world = world;
    this.#root = root;
    this.store = store;
  }

  static async init(world: World, root: string): Promise<FolderRepository> {
    const store = await openStore(root);
    await world.init(store);
    return new FolderRepository(world, root, store);
  }

  open(): Promise<Repository> {
    return this.world.open({ store: this.store, place: placeInFolder(this.#root) });
  }
}

/** Backs up what does not fit. */
async function overfill(repository: Repository, item: string): Promise<void> {
  const disks = large(10_000, 16_000);
  const backup = await InlineBackup.begin(repository, { item, disks });
  await assert.rejects(
    async () => {
      await backup.write();
      await backup.commit();
    },
    (error) => {
      assert.ok(isHoldfastError(error, 'StoreFull'), String(error));
      assert.match(error.message, /space|full/);
      return true;
    },
  );
}

test('a repository whose disk fills in a backup keeps its points, expires, compacts and goes on', async () => {
  await inTinyFileSystem('3m', async (root) => {
    const world = new World({ seed: 21 });
    const folder = await FolderRepository.init(world, root);
    let repository = await folder.open();
    const first = await backUp(world, repository, { item: 'web', disks: large(0, 4000) });
    await backUp(world, repository, { item: 'web', disks: large(4000, 1000) });
    await overfill(repository, 'db');
    await assertRestores(world, repository);
    await repository.close().catch(() => repository.abandon());

    // The index notes what dies: about 40 bytes a block.
    const filler = fillUpTo(root, 320 * 1024);
    repository = await folder.open();
    await assertRestores(world, repository);
    await expirePoints(repository.parts, [first]);
    const compacted = await compactRepository(repository.parts);
    assert.ok(compacted.freedBytes > 500_000, `${compacted.freedBytes} bytes freed`);
    rmSync(filler);
    await backUp(world, repository, { item: 'db', disks: large(10_000, 3000) });
    await assertWhole(world, repository);
    await repository.close();
    await folder.store.close();
    world.remove();
  });
});

test('what is wholly dead goes although there is no room to move what is partly alive', async () => {
  await inTinyFileSystem('8m', async (root) => {
    const world = new World({ seed: 22 });
    const folder = await FolderRepository.init(world, root);
    let repository = await folder.open();
    const dead = await backUp(world, repository, { item: 'gone', disks: large(0, 4000) });
    const mixed = await backUp(world, repository, { item: 'web', disks: large(5000, 12_000) });
    await backUp(world, repository, { item: 'web', disks: large(5000, 10_000) });
    await expirePoints(repository.parts, [dead, mixed]);
    await repository.close();
    const filler = fillUpTo(root, 64 * 1024);

    repository = await folder.open();
    await assert.rejects(compactRepository(repository.parts), { code: 'StoreFull' });
    await repository.close().catch(() => repository.abandon());
    assert.ok(freeBytesOf(root) > 500_000, `${freeBytesOf(root)} bytes are free`);

    repository = await folder.open();
    await assertRestores(world, repository);
    rmSync(filler);
    await compactRepository(repository.parts);
    await backUp(world, repository, { item: 'db', disks: large(20_000, 50) });
    await assertWhole(world, repository);
    await repository.close();
    await folder.store.close();
    world.remove();
  });
});

/** A disk whose third `part` has been written anew. */
function rewritten(disks: Disks, part: number, first: number): Disks {
  const { blocks, image } = disks.get('vda')!;
  const changed = new Map(image);
  for (let at = 0; at < blocks / 3; at += 1) {
    changed.set((part % 3) * Math.floor(blocks / 3) + at, first + at);
  }
  return new Map([['vda', { blocks, image: changed }]]);
}

test('a full disk with much that is half dead is emptied in rounds that fit, and takes backups again', async () => {
  await inTinyFileSystem('10m', async (root) => {
    const world = new World({ seed: 24 });
    const folder = await FolderRepository.init(world, root);
    // With blocks as small as these the index would take a fifth of the disk.
    const open = (): Promise<Repository> =>
      world.open({ store: folder.store, place: placeInFolder(world.folder) });
    let repository = await open();
    let disks = large(0, 10_000);
    for (let round = 1; round <= 6; round += 1) {
      await backUp(world, repository, { item: 'web', disks });
      // Every other block of what the last wrote, so that each pack keeps half of it in the end.
      const { blocks, image } = rewritten(disks, round, round * 20_000).get('vda')!;
      const mixed = [...image].map(([at, content]): [number, number] =>
        at % 2 === 0 ? [at, disks.get('vda')!.image.get(at)!] : [at, content],
      );
      disks = new Map([['vda', { blocks, image: new Map(mixed) }]]);
    }
    await repository.close();
    // A mark that a compaction left open when it died; what dies later lies in its packs.
    repository = await open();
    await markPacks(repository.parts, [...repository.state.packs.keys()]);
    await expirePoints(repository.parts, visibleOf(repository).slice(0, -2));
    await repository.close();
    const filler = fillUpTo(root, 512 * 1024);

    repository = await open();
    const before = repositoryStatistics(repository.parts);
    assert.ok(before.liveBytes > 2 * freeBytesOf(root), 'there is no room to move all at once');
    const compacted = await compactRepository(repository.parts);
    const after = repositoryStatistics(repository.parts);
    assert.equal(repository.state.marks.size, 0);
    assert.ok(compacted.freedBytes > 0.8 * before.deadBytes, `${compacted.freedBytes} bytes freed`);
    assert.ok(after.deadBytes < 0.1 * before.deadBytes, `${after.deadBytes} bytes are dead`);
    assert.ok(after.logEntries < before.logEntries + 64, 'in few rounds');
    await assertRestores(world, repository);
    await backUp(world, repository, { item: 'db', disks: large(500_000, 2000) });
    await repository.close();
    rmSync(filler);
    repository = await open();
    await assertWhole(world, repository);
    await repository.close();
    await folder.store.close();
    world.remove();
  });
});

test('an index whose disk is full stops the backup, and is whole again where there is room', async () => {
  await inTinyFileSystem('2m', async (root) => {
    const world = new World({ seed: 23 });
    await world.init();
    const place = { ...placeInFolder(world.folder), indexDir: join(root, 'index') };
    let repository = await world.open({ place });
    await backUp(world, repository, { item: 'web', disks: diskOf(1) });
    for (const freeBytes of [0, 4096, 16_384, 65_536]) {
      const filler = fillUpTo(root, freeBytes);
      let failure: unknown;
      try {
        for (let round = 0; round < 10; round += 1) {
          const disks = large(round * 1000, 1000);
          const backup = await InlineBackup.begin(repository, { item: 'web', disks });
          world.expected.set(backup.session.point, disks);
          await backup.write();
          await backup.commit();
        }
      } catch (error) {
        failure = error;
      }
      assert.ok(isHoldfastError(failure, 'StoreFull'), String(failure));
      await repository.close().catch(() => repository.abandon());
      rmSync(filler);
      repository = await world.open({ place });
      await assertRestores(world, repository);
      await expirePoints(repository.parts, visibleOf(repository).slice(0, -1));
      await compactRepository(repository.parts);
    }
    await assertSound(world, repository, { item: 'web', disks: diskOf(1) });
    await repository.close();
    world.remove();
  });
});
