/** Backups of one image as the data plane drives them: bases that are remembered, points that count up. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { formatBitmapName } from '../../bitmap-name.ts';
import type { PreparedBackup, PreparedDisk, TrackingBase } from '../../hypervisor.ts';
import type { OfflineOptions } from '../offline-disk.ts';
import { prepareOffline } from '../prepare-offline.ts';
import { clock, createImage, imageFolder, MIB, writeAsVm } from './images.ts';

export const REPOSITORY = '0123456789abcdef'.repeat(2);
const BLOCK = 16 * 1024;

export class Backups {
  readonly #path: string;
  readonly #options: OfflineOptions & { readonly format?: string };
  #count = 0;
  /** Items of the same repository, of the same image. */
  readonly #others: Backups[] = [];
  /** Newest first; tests change it to lose a point. */
  bases: TrackingBase[] = [];
  readonly warnings: string[] = [];

  constructor(path: string, options: OfflineOptions & { readonly format?: string } = {}) {
    this.#path = path;
    this.#options = options;
  }

  /** Another item of the same repository. */
  otherItem(): Backups {
    const other = new Backups(this.#path, this.#options);
    other.#count = 1000;
    other.#others.push(this);
    this.#others.push(other);
    return other;
  }

  /** The point of the next backup. */
  get point(): string {
    return String(100_000_000_000_000 + this.#count);
  }

  get bitmap(): string {
    return formatBitmapName({ repositoryId: REPOSITORY, point: this.point });
  }

  async prepare(): Promise<PreparedBackup> {
    const format = this.#options.format ?? 'qcow2';
    const disk = { name: 'vda', sizeBytes: 0, format, location: this.#path };
    return await prepareOffline(
      {
        vm: 'web',
        tracking: {
          repositoryId: REPOSITORY,
          point: this.point,
          bases: new Map([['vda', this.bases]]),
          otherBases: new Set(this.#others.flatMap(({ bases }) => bases[0]?.point ?? [])),
          blockSize: BLOCK,
        },
        scratchDir: '/nonexistent',
        warn: (message) => this.warnings.push(message),
      },
      {
        name: 'web',
        state: 'off',
        disks: [disk],
        firmware: 'bios',
        networkCards: [],
        hasAgentChannel: false,
      },
      { ...this.#options, clock },
    );
  }

  /** One whole backup; what it found. */
  async take(t: TestContext, outcome: 'committed' | 'failed' = 'committed'): Promise<Taken> {
    const prepared = await this.prepare();
    const disk = prepared.disks[0]!;
    const snapshot = await prepared.snapshot();
    t.after(async () => await snapshot.release('failed'));
    const { dirty } = (await snapshot.disks())[0]!;
    await snapshot.release(outcome);
    if (outcome === 'committed') this.commit(disk);
    else this.#count += 1;
    return { disk, dirty: dirty?.map(({ offset, length }) => [offset, length]) };
  }

  /** Remembers the point as the repository does. */
  commit({ fingerprint }: PreparedDisk): void {
    this.bases.unshift({ point: this.point, fingerprint });
    this.#count += 1;
  }

  /** The next backup is of another point than the one that was begun and never ended. */
  forget(): void {
    this.#count += 1;
  }
}

export type Taken = {
  readonly disk: PreparedDisk;
  /** Offset and length. */
  readonly dirty: readonly (readonly number[])[] | undefined;
};

/** An image of 16 MiB of which a first point has been taken. */
export async function imageWithPoint(t: TestContext): Promise<{ path: string; backups: Backups }> {
  const folder = await imageFolder(t);
  const path = await createImage(join(folder, 'disk one.qcow2'), 16 * MIB);
  await writeAsVm(path, 'write -P 7 0 1M');
  const backups = new Backups(path);
  const { disk, dirty } = await backups.take(t);
  assert.deepEqual(
    [disk.tracking, disk.untracked, dirty],
    [{ kind: 'initial' }, undefined, undefined],
  );
  return { path, backups };
}

/** Takes a backup that must compare; why. */
export async function reasonOf(t: TestContext, backups: Backups): Promise<string> {
  const { disk, dirty } = await backups.take(t);
  assert.equal(disk.tracking.kind, 'compare');
  assert.equal(dirty, undefined);
  return disk.tracking.reason;
}

/** For `assert.rejects`. */
export const has =
  (code: string, text: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  };
