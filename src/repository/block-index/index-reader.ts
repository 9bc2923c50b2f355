/**
 * Lookups without the writer: in a worker thread, from a snapshot that the main thread sent, or in
 * another process, from the files. A reader sees the index as of its opening, whatever the writer
 * does; one instance serves one thread.
 */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { isHoldfastError } from '#base';
import { findManySorted } from './find-many.ts';
import { Lookup } from './lookup.ts';
import { readManifest, type IndexPosition, type Manifest } from './manifest.ts';
import type { Found } from './found.ts';
import { loadKey, newKey } from './record.ts';
import { Run, type RunSnapshot } from './run.ts';

/** The durable index at one position; can be posted to a worker thread. */
export type IndexSnapshot = {
  readonly runs: readonly RunSnapshot[];
  readonly position: IndexPosition;
};

type PackPredicate = (packNumber: number) => boolean;

/** The writer may replace runs between our reading the manifest and opening them; rarely twice. */
const OPEN_ATTEMPTS = 10;

export class IndexReader {
  readonly position: IndexPosition;
  readonly #runs: readonly Run[];
  readonly #lookup: Lookup;
  readonly #key = newKey();

  private constructor(runs: readonly Run[], position: IndexPosition, isPackGone: PackPredicate) {
    this.#runs = runs;
    this.position = position;
    this.#lookup = new Lookup(isPackGone);
  }

  /**
   * Opens what `snapshot` names; the writer must not have released it yet, but may afterwards.
   *
   * @throws {HoldfastError} `IndexDamaged`
   */
  static open(snapshot: IndexSnapshot, isPackGone: PackPredicate = () => false): IndexReader {
    const runs = snapshot.runs.map((run) => Run.attach(run));
    return new IndexReader(runs, snapshot.position, isPackGone);
  }

  /**
   * Opens the index in `dir` beside a writer in another process. `isPackGone` is made from the
   * caller's state that belongs to what was opened.
   *
   * @throws {HoldfastError} `IndexDamaged` (detail `reason`: `absent` or `damaged`)
   */
  static async openReadOnly(
    dir: string,
    isPackGoneIn: (callerState: unknown) => PackPredicate = () => () => false,
  ): Promise<{ reader: IndexReader; callerState: unknown }> {
    for (let attempt = 1; ; attempt++) {
      try {
        const manifest = await readManifest(dir);
        const { position, callerState } = manifest;
        const runs = await loadRuns(dir, manifest);
        return { reader: new IndexReader(runs, position, isPackGoneIn(callerState)), callerState };
      } catch (error) {
        if (attempt === OPEN_ATTEMPTS || !isMissingFile(error)) throw error;
        await setImmediate();
      }
    }
  }

  /** As `BlockIndex.find`. */
  find(id: Buffer, into: Found): Found {
    return this.#findAt(id, 0, into);
  }

  #findAt(ids: Buffer, offset: number, into: Found): Found {
    loadKey(this.#key, ids, offset);
    into.reset();
    this.#lookup.find(this.#runs, this.#key, into);
    return into;
  }

  /** As `BlockIndex.findMany`. */
  findMany(ids: Buffer, into: Found, visit: (i: number) => void): void {
    findManySorted(ids, (offset, i) => {
      this.#findAt(ids, offset, into);
      visit(i);
    });
  }

  /** As `BlockIndex.maybePresent`. */
  maybePresent(id: Buffer): boolean {
    loadKey(this.#key, id);
    return this.#lookup.maybePresent(this.#runs, this.#key);
  }

  close(): void {
    for (const run of this.#runs) run.closeReader();
  }
}

/** Opens every run that the manifest names, or none. */
export async function loadRuns(dir: string, manifest: Manifest): Promise<Run[]> {
  const runs: Run[] = [];
  try {
    for (const { name, ...meta } of manifest.runs) runs.push(await Run.load(join(dir, name), meta));
    return runs;
  } catch (error) {
    for (const run of runs) await run.release();
    throw error;
  }
}

function isMissingFile(error: unknown): boolean {
  if (!isHoldfastError(error, 'IndexDamaged')) return false;
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}
