/**
 * The operations that the fault tests interrupt: each prepares a world once, and then runs on copies of
 * it, from opening the repository to closing it.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import {
  compactRepository,
  expirePoints,
  markPacks,
  reclaimMark,
  verifyRepository,
  type Repository,
} from '#repository';
import type { ObjectStore } from '#storage';
import { visibleOf } from './soundness.ts';
import {
  assertRestores,
  backUp,
  InlineBackup,
  itemToLayOut,
  type Disks,
  type World,
} from './world.ts';

export type Operation = {
  readonly name: string;
  /** Makes what the operation finds. */
  readonly prepare: (world: World) => Promise<void>;
  /** Runs it in a world; tells of the repository as soon as it is open. */
  readonly run: (world: World, opened: (repository: Repository) => void) => Promise<void>;
  /** How many of the oldest points it may remove. */
  readonly expires?: number;
};

/** A disk of five units' positions with this content number and those that follow. */
export function diskOf(first: number): Disks {
  const places = [0, 1, 2, 64, 65, 4096, 9000];
  const image = new Map(places.map((place, at) => [place, first + at]));
  return new Map([['vda', { blocks: 9001, image }]]);
}

/** Three points of `web`, two of `db`, that share blocks. */
export async function fivePoints(world: World): Promise<void> {
  await world.init();
  const repository = await world.open();
  for (const first of [1, 3, 5])
    await backUp(world, repository, { item: 'web', disks: diskOf(first) });
  for (const first of [4, 20])
    await backUp(world, repository, { item: 'db', disks: diskOf(first) });
  await repository.close();
}

async function expiredPoints(world: World): Promise<void> {
  await fivePoints(world);
  const repository = await world.open();
  const [first, second, , fourth] = visibleOf(repository);
  await expirePoints(repository.parts, [first!, second!, fourth!]);
  await repository.close();
}

/**
 * A backup that died before its entry with its packs sealed, another that died with nothing sealed, and
 * doomed packs that were not deleted.
 */
async function deadWork(world: World): Promise<void> {
  await expiredPoints(world);
  const repository = await world.open({ store: dyingStore(world) });
  const mark = await markPacks(repository.parts, [...repository.state.packs.keys()]);
  const sealed = await InlineBackup.begin(repository, { item: 'web', disks: diskOf(40) });
  await sealed.write();
  const unsealed = await InlineBackup.begin(repository, { item: 'db', disks: diskOf(60) });
  await unsealed.write();
  await ignoreFailure(reclaimMark(repository.parts, mark!, { inOrder: [] }));
  await ignoreFailure(sealed.commit());
  await repository.abandon();
  world.disk.restart();
}

/** Cannot delete packs, and dies of writing a manifest. */
function dyingStore(world: World): ObjectStore {
  const store = world.disk.store();
  const { life } = world.disk;
  const failure = (): HoldfastError => new HoldfastError('StoreFailed', 'as the test wants it');
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...call: unknown[]): unknown => {
        const name = String(call[0]);
        if (key === 'delete' && name.startsWith('packs/')) return Promise.reject(failure());
        if (key === 'createIfAbsent' && name.startsWith('points/')) life.dead = true;
        return value.apply(target, call) as unknown;
      };
    },
  });
}

async function ignoreFailure(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isHoldfastError(error, 'StoreFailed')) throw error;
  }
}

/** Says before the commit what the point must restore to: it may be there after a failure. */
async function backUpDaringly(world: World, repository: Repository, disks: Disks): Promise<void> {
  const backup = await InlineBackup.begin(repository, { item: 'web', disks });
  world.expected.set(backup.session.point, disks);
  await backup.write();
  await backup.commit();
}

type Opened = Parameters<Operation['run']>[1];

/** Opens, works, closes. */
function opening(
  work: (world: World, repository: Repository) => Promise<void>,
  overrides: Parameters<World['open']>[0] = {},
): Operation['run'] {
  return async (world: World, opened: Opened) => {
    const repository = await world.open(overrides);
    opened(repository);
    await work(world, repository);
    await repository.close();
  };
}

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'a first backup',
    prepare: (world) => world.init(),
    run: opening((world, repository) => backUpDaringly(world, repository, diskOf(1))),
  },
  {
    name: 'an incremental backup',
    prepare: fivePoints,
    run: opening((world, repository) => backUpDaringly(world, repository, diskOf(7))),
  },
  {
    name: 'a cancelled backup',
    prepare: fivePoints,
    run: opening(async (_world, repository) => {
      const backup = await InlineBackup.begin(repository, { item: 'web', disks: diskOf(7) });
      await backup.write();
      await backup.cancel();
    }),
  },
  {
    name: 'an expiry',
    prepare: fivePoints,
    expires: 3,
    run: opening(async (_world, repository) => {
      const visible = visibleOf(repository);
      await expirePoints(repository.parts, [visible[1]!]);
      await expirePoints(repository.parts, [visible[0]!, visible[3]!]);
    }),
  },
  {
    name: 'a compaction',
    prepare: expiredPoints,
    run: opening(async (_world, repository) => {
      await compactRepository(repository.parts);
    }),
  },
  {
    name: 'a compaction in the order of the points',
    prepare: expiredPoints,
    run: opening(async (_world, { parts, state }) => {
      const mark = await markPacks(parts, [...state.packs.keys()]);
      const points = [...state.points.keys()];
      const ends = [points[0]!, points.at(-1)!];
      await reclaimMark(parts, mark!, { inOrder: [itemToLayOut({ parts }, ends)] });
    }),
  },
  {
    name: 'a pinned restore and a verification beside it',
    prepare: fivePoints,
    run: opening(
      async (world, repository) => {
        await repository.pin(visibleOf(repository).slice(0, 2));
        await assertRestores(world, repository);
        await verifyRepository(repository, { readDataPercent: 100 });
      },
      { access: 'read' },
    ),
  },
  {
    name: 'a rebuild of the index',
    prepare: async (world) => {
      await expiredPoints(world);
      rmSync(join(world.folder, 'index'), { recursive: true });
    },
    run: opening(async () => {}),
  },
  {
    name: 'an opening that adopts and deletes',
    prepare: deadWork,
    run: opening(async () => {}),
  },
];
