/**
 * A history of backups of one VM, without a repository: what each snapshot shows, and what the changes that
 * tracking found make of the content before. If a change was missed, the two differ.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { openSource, prepareSource, type Extent } from '#disk';
import { realClock } from '#base';
import type { Hypervisor, PreparedDisk, Snapshot, SnapshotDisk, TrackingBase } from '#hypervisor';

export const BLOCK_SIZE = 65_536;
const PIECE_BYTES = 4 * 1024 * 1024;
/** Contents of a disk. */
const KEPT = 4;
const clock = realClock();

export type HistoryOptions = {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  readonly scratchDir: string;
  readonly repositoryId?: string;
  /** Names of the disks; absent: all. */
  readonly disks?: readonly string[];
};

export type Round = {
  /** `gone`: VM or hypervisor went away: nothing is released. */
  readonly outcome?: 'committed' | 'failed';
  /** While the snapshot is there. */
  readonly during?: (snapshot: Snapshot) => Promise<void>;
};

export type TakenDisk = PreparedDisk & {
  /** What the snapshot shows, whole. */
  readonly content: Buffer;
  readonly dirty: readonly Extent[] | undefined;
};

export class BackupHistory {
  readonly #options: HistoryOptions;
  readonly repositoryId: string;
  readonly warnings: string[] = [];
  /** By disk, newest first. */
  readonly bases = new Map<string, TrackingBase[]>();
  /** By disk and point. */
  readonly #contents = new Map<string, Buffer>();
  /** Items of the same repository, on the same VM. */
  readonly #others: BackupHistory[] = [];

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.repositoryId = options.repositoryId ?? randomBytes(16).toString('hex');
  }

  /** Another item of the same repository, on the same VM. */
  otherItem(): BackupHistory {
    const other = new BackupHistory({ ...this.#options, repositoryId: this.repositoryId });
    other.#others.push(this, ...this.#others);
    for (const known of other.#others) known.#others.push(other);
    return other;
  }

  /** The newest point of each disk of every other item. */
  get otherBases(): ReadonlySet<string> {
    const lists = this.#others.flatMap(({ bases }) => [...bases.values()]);
    return new Set(lists.flatMap(([newest]) => newest?.point ?? []));
  }

  /** The same points, seen through another connection. */
  through(hypervisor: Hypervisor): BackupHistory {
    const next = new BackupHistory({
      ...this.#options,
      hypervisor,
      repositoryId: this.repositoryId,
    });
    next.#others.push(...this.#others);
    for (const [disk, bases] of this.bases) next.bases.set(disk, [...bases]);
    for (const [key, content] of this.#contents) next.#contents.set(key, content);
    return next;
  }

  async prepare(
    point = newPoint(),
    more: { readonly signal?: AbortSignal } = {},
  ): ReturnType<Hypervisor['prepare']> {
    const { hypervisor, vm, disks, scratchDir } = this.#options;
    return await hypervisor.prepare({
      vm,
      ...(disks === undefined ? {} : { disks }),
      tracking: {
        repositoryId: this.repositoryId,
        point,
        bases: this.bases,
        otherBases: this.otherBases,
        blockSize: BLOCK_SIZE,
      },
      scratchDir,
      warn: (message) => this.warnings.push(message),
      ...more,
    });
  }

  /**
   * One backup: reads every disk whole, and checks that the content at the tracking's base with the changed
   * extents over it is the same, byte for byte. Committed, its point is the next one's base.
   */
  async take({ outcome = 'committed', during }: Round = {}): Promise<
    ReadonlyMap<string, TakenDisk>
  > {
    const point = newPoint();
    const prepared = await this.prepare(point);
    const snapshot = await prepared.snapshot();
    const taken = new Map<string, TakenDisk>();
    try {
      for (const disk of await snapshot.disks()) {
        const plan = prepared.disks.find(({ name }) => name === disk.name);
        assert.ok(plan !== undefined);
        const shown = await readDisk(disk);
        const content = this.#whole(plan, { ...disk, shown });
        taken.set(disk.name, { ...plan, content, dirty: disk.dirty });
      }
      await during?.(snapshot);
    } catch (error) {
      await snapshot.release('failed');
      throw error;
    }
    if (outcome === 'committed') this.commit(point, taken);
    await snapshot.release(outcome);
    await prepared.close();
    return taken;
  }

  /** The point exists from now on. */
  commit(point: string, taken: ReadonlyMap<string, TakenDisk>): void {
    for (const { name, fingerprint, content } of taken.values()) {
      const bases = [{ point, fingerprint }, ...(this.bases.get(name) ?? [])];
      this.bases.set(name, bases);
      this.#contents.set(`${name} ${point}`, content);
      // A long history does not fit into memory.
      for (const { point: old } of bases.slice(KEPT)) this.#contents.delete(`${name} ${old}`);
    }
  }

  /** What the disk was at the instant; where the snapshot shows all of it, checked against what tracking makes of it. */
  #whole(
    { name, tracking, sizeBytes }: PreparedDisk,
    {
      shown,
      dirty,
      holdsDirtyOnly,
    }: Pick<SnapshotDisk, 'dirty' | 'holdsDirtyOnly'> & { readonly shown: Buffer },
  ): Buffer {
    assert.equal(shown.length, sizeBytes, `${name}: the size`);
    assert.equal(dirty !== undefined, tracking.kind === 'bitmap', `${name}: ${tracking.kind}`);
    if (tracking.kind !== 'bitmap' || dirty === undefined) return shown;
    const before = this.#contents.get(`${name} ${tracking.base}`);
    assert.ok(before !== undefined, `${name}: its base ${tracking.base} is a point`);
    const rebuilt = Buffer.from(before);
    let end = 0;
    for (const { offset, length } of dirty) {
      assert.ok(offset >= end && length > 0 && offset + length <= sizeBytes, `${name}: ${offset}`);
      end = offset + length;
      shown.copy(rebuilt, offset, offset, end);
    }
    if (holdsDirtyOnly === true) return rebuilt;
    assert.ok(rebuilt.equals(shown), `${name}: a change since ${tracking.base} was not tracked`);
    return shown;
  }
}

/** Decimal digits, random as a repository's. */
export function newPoint(): string {
  return (10n ** 16n + (randomBytes(8).readBigUInt64BE() % (9n * 10n ** 16n))).toString();
}

/** The whole disk of a snapshot. */
export async function readDisk({ location, format, sizeBytes }: SnapshotDisk): Promise<Buffer> {
  const prepared = await prepareSource({
    location,
    clock,
    ...(format === undefined ? {} : { format }),
  });
  try {
    const source = await openSource(prepared.spec, { clock });
    try {
      const content = Buffer.alloc(sizeBytes);
      for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
        await source.read(at, content.subarray(at, at + PIECE_BYTES));
      }
      return content;
    } finally {
      await source.close();
    }
  } finally {
    await prepared.close();
  }
}
