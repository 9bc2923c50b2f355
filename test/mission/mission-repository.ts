/**
 * A repository in a folder, used as its users do: real images are backed up into it and restored from it,
 * each time through a newly opened one. It remembers what every point must restore to, and checks with
 * each expiry that it frees what was said, to the byte.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock, realClock, type Clock } from '#base';
import {
  backUpDisks,
  createRepository,
  expirePoints,
  planExpiry,
  pointSizes,
  repositoryStatistics,
  restoreDisks,
  verify,
  withRepository,
  type BackupRequest,
  type BackupResult,
  type ExpiryResult,
  type PointSizes,
  type RepositoryStatistics,
} from '#backup';
import { BLOCK, digestOf } from './images.ts';

type OpenRepository = BackupRequest['repository'];
/** As `backUpDisks` takes them. */
export type MissionDisk = BackupRequest['disks'][number];
type BackupSettings = Partial<Pick<BackupRequest, 'threads' | 'signal'>> & {
  readonly item?: string;
};

export class MissionRepository {
  readonly folder: string;
  readonly location: string;
  /** Warnings of the last backup. */
  warnings: string[] = [];
  /** What day it is for the repository; its sleeps are real. */
  readonly calendar = new FakeClock();
  readonly #clock: Clock = { ...realClock(), nowMs: this.calendar.nowMs };
  readonly #password: string | undefined;
  /** Of each point: disk name → digest. */
  readonly #expected = new Map<string, ReadonlyMap<string, string>>();

  private constructor(folder: string, password: string | undefined) {
    this.folder = folder;
    this.location = join(folder, 'repository');
    this.#password = password;
  }

  static async create(
    t: { readonly after: (act: () => void) => void },
    options: { readonly password?: string; readonly blockSize?: number } = {},
  ): Promise<MissionRepository> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-mission-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const { password, blockSize = BLOCK } = options;
    const made = new MissionRepository(folder, password);
    await createRepository({
      location: made.location,
      blockSize,
      access: password === undefined ? { kdf: 'none' } : { kdf: 'scrypt', password },
      label: 'first',
      caller: made.#caller(),
    });
    return made;
  }

  /** The path of a file beside the repository. */
  path(name: string): string {
    return join(this.folder, name);
  }

  async use<Result>(
    access: 'own' | 'read',
    act: (repository: OpenRepository) => Promise<Result>,
    { password }: { readonly password: string | undefined } = { password: this.#password },
  ): Promise<Result> {
    const { location } = this;
    return await withRepository(
      { location, access, password, waitMs: 0, caller: this.#caller() },
      act,
    );
  }

  /** Backs up and remembers what the images held; an NBD source is not remembered. */
  async backUp(
    disks: readonly MissionDisk[],
    settings: BackupSettings = {},
  ): Promise<BackupResult> {
    const digests = new Map<string, string>();
    for (const { name, location } of disks) {
      if (!location.startsWith('nbd')) digests.set(name, await digestOf(location));
    }
    const result = await this.backUpUnseen(disks, settings);
    this.#expected.set(result.pointId, digests);
    return result;
  }

  /** Backs up; what the point holds is for the caller to check. */
  async backUpUnseen(
    disks: readonly MissionDisk[],
    settings: BackupSettings = {},
  ): Promise<BackupResult> {
    const { item = 'V1', threads = 1, ...rest } = settings;
    this.warnings = [];
    const warn = (message: string): void => void this.warnings.push(message);
    const clock = this.#clock;
    return await this.use('own', async (repository) =>
      backUpDisks({ repository, item, disks, clock, warn, threads, ...rest }),
    );
  }

  /** The point holds what the images hold now. */
  async assertSame(point: string, disks: readonly MissionDisk[]): Promise<void> {
    const restored = await this.restore(
      point,
      disks.map(({ name }) => name),
    );
    for (const [at, { name, location }] of disks.entries()) {
      assert.equal(await digestOf(restored[at]!), await digestOf(location), name);
    }
  }

  /** Restores disks of a point to new raw images beside the repository. @returns their paths. */
  async restore(point: string, names: readonly string[]): Promise<string[]> {
    return await this.use(
      'read',
      async (repository) => await this.#restoreFrom(repository, { point, names }),
    );
  }

  /** Every visible point restores bit for bit, and no other is visible. */
  async assertRestores(): Promise<void> {
    await this.use('read', async (repository) => {
      const sizes = await pointSizes(repository.parts);
      assert.deepEqual(sizes.map(({ id }) => id).toSorted(), [...this.#expected.keys()].toSorted());
      for (const { id, disks } of sizes) {
        const expected = this.#expected.get(id)!;
        const names = [...expected.keys()];
        assert.deepEqual(disks.map(({ name }) => name).toSorted(), names.toSorted());
        const paths = await this.#restoreFrom(repository, { point: id, names });
        const digests = await Promise.all(paths.map(digestOf));
        assert.deepEqual(digests, [...expected.values()], `the disks of ${id}`);
      }
    });
  }

  async #restoreFrom(
    repository: OpenRepository,
    { point, names }: { readonly point: string; readonly names: readonly string[] },
  ): Promise<string[]> {
    const disks = names.map((name) => ({ name, path: this.path(`restored-${name}.raw`) }));
    for (const { path } of disks) await rm(path, { force: true });
    const clock = this.#clock;
    await restoreDisks({ repository, point, disks, overwrite: false, clock, threads: 1 });
    return disks.map(({ path }) => path);
  }

  /** Oldest first. */
  async sizes(): Promise<PointSizes[]> {
    return await this.use('read', async ({ parts }) => pointSizes(parts));
  }

  async statistics(): Promise<RepositoryStatistics> {
    return await this.use('read', async ({ parts }) =>
      Promise.resolve(repositoryStatistics(parts)),
    );
  }

  /** As `expireUnrestored`; every point restores before and after. */
  async expire(...points: readonly string[]): Promise<ExpiryResult> {
    await this.assertRestores();
    const result = await this.expireUnrestored(...points);
    await this.assertRestores();
    return result;
  }

  /** As `expireUnsummed`; what the points own is then summed up. */
  async expireUnrestored(...points: readonly string[]): Promise<ExpiryResult> {
    const result = await this.expireUnsummed(...points);
    await this.assertSums();
    return result;
  }

  /**
   * Expires the points together. What `planExpiry` and, of a lone point, its `freedIfExpired` said is what
   * that frees and what `liveBytes` falls by.
   */
  async expireUnsummed(...points: readonly string[]): Promise<ExpiryResult> {
    const result = await this.use('own', async ({ parts }) => {
      const sizes = await pointSizes(parts);
      const plan = await planExpiry(parts, points);
      const before = repositoryStatistics(parts).liveBytes;
      const expired = await expirePoints(parts, points);
      const after = repositoryStatistics(parts).liveBytes;
      assert.equal(expired.freedBytes, before - after);
      const { kept: _, ...done } = expired;
      assert.deepEqual(plan, done);
      const [only] = points.length === 1 ? points : [];
      const said = sizes.find(({ id }) => id === only)?.freedIfExpired;
      if (said !== undefined) assert.equal(said, expired.freedBytes);
      return expired;
    });
    assert.deepEqual(result.kept, []);
    for (const point of points) this.#expected.delete(point);
    return result;
  }

  /**
   * What the points own, stored, and the live pages of their maps are together what is live, to the byte.
   * Holds where no block's content is in two places.
   */
  async assertSums(): Promise<void> {
    await this.use('read', async ({ parts, state }) => {
      const live = { data: 0, page: 0 };
      for (const row of parts.keeper.packs.rows()) {
        live[state.packs.get(row.id)!.kind] += row.liveBytes;
      }
      const sizes = await pointSizes(parts);
      const disks = sizes.flatMap((point) => point.disks);
      assert.equal(sum(disks.map(({ ownedStored }) => ownedStored)), live.data);
      assert.equal(live.data + live.page, repositoryStatistics(parts).liveBytes);
      const { freedBytes } = await planExpiry(
        parts,
        sizes.map(({ id }) => id),
      );
      assert.equal(freedBytes, live.data + live.page, 'all points together hold all that is live');
    });
  }

  /** Reads and checks everything stored, and compares the index with one made anew. */
  async assertVerifies(): Promise<void> {
    const found = await this.use('read', async (repository) =>
      verify(repository, { readDataPercent: 100 }),
    );
    assert.equal(found.ok, true);
  }

  #caller(): Parameters<typeof createRepository>[0]['caller'] {
    return {
      clock: this.#clock,
      random: (sizeBytes) => randomBytes(sizeBytes),
      version: 'test',
      process: { host: 'here', pid: process.pid, command: 'mission test' },
      warn: (message) => assert.fail(message),
    };
  }
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** The raw bytes that each disk of the point owns, by name. */
export function ownedOf(point: PointSizes | undefined): Readonly<Record<string, number>> {
  return Object.fromEntries(point?.disks.map(({ name, owned }) => [name, owned]) ?? []);
}
