/**
 * A reader's place beside an owner: a private copy of the index (its runs are hard links), a kernel
 * lock that shows that it lives, and its pin in the log. Where nothing can be written, or next to nothing, the copy
 * lies in a temporary folder; where nothing can, there is no pin.
 */
import { copyFile, link, mkdir, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { isHeld, type OwnerLock, tryLock } from '../log/owner-lock.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import type { LocalPlace, OpenOptions } from './open-options.ts';

const MANIFEST = 'manifest';
/** What a private index may grow by while the log is replayed into it. */
const LEAST_FREE_BYTES = 64 * 1024 * 1024;

export class ReaderSeat {
  readonly #id: string;
  readonly #folder: string;
  readonly #lock: OwnerLock | undefined;
  readonly #reader: string;
  #isPinned = false;

  private constructor(seat: {
    readonly id: string;
    readonly folder: string;
    readonly lock: OwnerLock | undefined;
    readonly reader: string;
  }) {
    this.#id = seat.id;
    this.#folder = seat.folder;
    this.#lock = seat.lock;
    this.#reader = seat.reader;
  }

  static async take(options: OpenOptions): Promise<ReaderSeat> {
    const id = options.random(16).toString('hex');
    const reader = `${options.process.command} on ${options.process.host}`;
    try {
      const holder = { ...options.process, sinceMs: options.clock.nowMs() };
      const lock = tryLock(lockFile(options.place, id), holder);
      const folder = await roomyFolder(options.place, id);
      return new ReaderSeat({ id, folder, lock, reader });
    } catch (error) {
      if (!cannotWrite(error)) throw error;
      return new ReaderSeat({ id, folder: await temporaryFolder(), lock: undefined, reader });
    }
  }

  /** Where the private index lies. */
  get indexDir(): string {
    return join(this.#folder, 'index');
  }

  /** Whether the reader can show that it lives, and so may pin. */
  get mayWrite(): boolean {
    return this.#lock !== undefined;
  }

  /** Copies the index as it is now; without one, nothing is copied and opening rebuilds. */
  async copyIndex(from: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await rm(this.indexDir, { recursive: true, force: true });
        await mkdir(this.indexDir, { recursive: true });
        await copyRuns(from, this.indexDir);
        return;
      } catch (error) {
        // The owner replaced runs meanwhile: look again.
        if (!isMissing(error) || attempt === 5) return;
      }
    }
  }

  async pin(parts: RepositoryParts, points: readonly string[]): Promise<boolean> {
    const missing = points.find((id) => parts.history.state.points.get(id)?.visible !== true);
    if (missing !== undefined) throw pointNotFound(missing);
    if (!this.mayWrite) return false;
    try {
      await parts.append((state) => {
        const gone = points.find((id) => state.points.get(id)?.visible !== true);
        if (gone !== undefined) throw pointNotFound(gone);
        return { type: 'pinned', pin: this.#id, points, reader: this.#reader };
      });
    } catch (error) {
      if (isHoldfastError(error, 'StoreReadOnly') || isHoldfastError(error, 'StoreFull')) {
        return false;
      }
      throw error;
    }
    this.#isPinned = true;
    return true;
  }

  async unpin(parts: RepositoryParts): Promise<void> {
    if (!this.#isPinned) return;
    this.#isPinned = false;
    await parts.append((state) =>
      state.pins.has(this.#id) ? { type: 'unpinned', pin: this.#id } : undefined,
    );
  }

  async leave(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    this.#lock?.release({ remove: true });
  }
}

/** Where the locks' disk has no room for an index, a temporary folder. */
async function roomyFolder({ locksDir, readersDir }: LocalPlace, id: string): Promise<string> {
  const { bavail, bsize } = await statfs(locksDir);
  if (bavail * bsize < LEAST_FREE_BYTES) return await temporaryFolder();
  const path = join(readersDir, id);
  await mkdir(path, { recursive: true });
  return path;
}

async function temporaryFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'holdfast-reader-'));
}

/** Whether the process that made the pin still lives. */
export function isReaderAlive(place: LocalPlace, pin: string): boolean {
  return isHeld(lockFile(place, pin));
}

/** Deletes what dead readers left. Only the owner does this. */
export async function removeDeadReaders(place: LocalPlace): Promise<void> {
  for (const id of await readdir(place.readersDir).catch(ignoreMissing)) {
    if (isReaderAlive(place, id)) continue;
    await rm(join(place.readersDir, id), { recursive: true, force: true });
    await rm(lockFile(place, id), { force: true });
    await rm(`${lockFile(place, id)}.holder`, { force: true });
  }
}

function ignoreMissing(error: unknown): string[] {
  if (isMissing(error)) return [];
  throw error;
}

function lockFile(place: LocalPlace, id: string): string {
  return join(place.locksDir, `reader-${id}`);
}

async function copyRuns(from: string, to: string): Promise<void> {
  await copyFile(join(from, MANIFEST), join(to, MANIFEST));
  for (const name of await readdir(from)) {
    if (name === MANIFEST || name.endsWith('.new')) continue;
    await linkOrCopy(join(from, name), join(to, name));
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (isMissing(error)) throw error;
    await copyFile(from, to);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function cannotWrite(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  const isSystem = code === 'EROFS' || code === 'EACCES' || code === 'EPERM' || code === 'ENOSPC';
  return isSystem || isHoldfastError(error, 'StoreReadOnly');
}

function pointNotFound(point: string): HoldfastError {
  return new HoldfastError('PointNotFound', `there is no recovery point ${point}`, {
    details: { point },
  });
}
