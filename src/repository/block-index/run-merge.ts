/**
 * Streams several runs as one, in id order, one step per id. `step` is synchronous and never waits:
 * when a buffer runs dry it says so, and the caller awaits `refill`; so the event loop gets its turn
 * every 64 pages of any input. Each page is checked as it is read. Memory: 256 KiB a run.
 */
import { checkPage, PAGE_BYTES, PAGE_HEADER_BYTES, pageDamaged } from './page.ts';
import { Found } from './found.ts';
import { compareRecord, loadRecordKey, newKey, RECORD_BYTES, type Key } from './record.ts';
import { readAsync, type Run } from './run.ts';

const CHUNK_PAGES = 64;

export class RunMerge {
  /** After `entry`: the id, and all that the runs say of it. Valid until the next step. */
  readonly key: Key = newKey();
  readonly found = new Found();
  readonly #isPackGone: (pack: number) => boolean;
  /** Those with records left, each at a record of its buffer unless it is among the dry. */
  readonly #cursors: RunCursor[];
  #dry: RunCursor[];
  #isOpen = false;

  constructor(runs: readonly Run[], isPackGone: (pack: number) => boolean) {
    this.#isPackGone = isPackGone;
    this.#cursors = runs.map((run) => new RunCursor(run));
    this.#dry = [...this.#cursors];
  }

  /** `entry`: `key` and `found` hold the next id. `dry`: await `refill`, then step again. */
  step(): 'entry' | 'dry' | 'end' {
    if (!this.#isOpen) this.found.reset();
    for (;;) {
      if (this.#dry.length > 0) return 'dry';
      const cursor = this.#lowest();
      if (cursor === undefined || (this.#isOpen && !cursor.isAt(this.key))) {
        if (!this.#isOpen) return 'end';
        this.#isOpen = false;
        return 'entry';
      }
      if (!this.#isOpen) {
        loadRecordKey(this.key, cursor.view, cursor.offset);
        this.#isOpen = true;
      }
      this.found.addRecord(cursor.view, cursor.offset, this.#isPackGone);
      if (!cursor.advance()) this.#dry.push(cursor);
    }
  }

  /** @throws {HoldfastError} `IndexDamaged` */
  async refill(): Promise<void> {
    for (const cursor of this.#dry) {
      if (!(await cursor.refill())) this.#cursors.splice(this.#cursors.indexOf(cursor), 1);
    }
    this.#dry = [];
  }

  #lowest(): RunCursor | undefined {
    let lowest = this.#cursors[0];
    for (let i = 1; i < this.#cursors.length; i++) {
      const cursor = this.#cursors[i]!;
      if (cursor.isBefore(lowest!)) lowest = cursor;
    }
    return lowest;
  }
}

class RunCursor {
  readonly #run: Run;
  readonly #chunk: Buffer;
  readonly view: DataView;
  /** Of the current record in the buffer. */
  offset = 0;
  #word = 0;
  #pageEnd = 0;
  #nextPageAt = 0;
  #chunkBytes = 0;
  #nextPage = 0;

  constructor(run: Run) {
    this.#run = run;
    this.#chunk = Buffer.alloc(Math.min(CHUNK_PAGES, run.meta.pageCount) * PAGE_BYTES);
    this.view = new DataView(this.#chunk.buffer, this.#chunk.byteOffset, this.#chunk.byteLength);
  }

  isAt(key: Key): boolean {
    return this.#word === key[0] && compareRecord(this.view, this.offset, key) === 0;
  }

  isBefore(other: RunCursor): boolean {
    if (this.#word !== other.#word) return this.#word < other.#word;
    for (let at = 4; at < 16; at += 4) {
      const mine = this.view.getUint32(this.offset + at);
      const others = other.view.getUint32(other.offset + at);
      if (mine !== others) return mine < others;
    }
    return false;
  }

  /** False when the buffer is used up. */
  advance(): boolean {
    this.offset += RECORD_BYTES;
    if (this.offset === this.#pageEnd) return this.#enterPage();
    this.#word = this.view.getUint32(this.offset);
    return true;
  }

  /** False at the end of the run. */
  async refill(): Promise<boolean> {
    const pages = Math.min(CHUNK_PAGES, this.#run.meta.pageCount - this.#nextPage);
    if (pages === 0) return false;
    const { fd, path } = this.#run;
    this.#chunkBytes = pages * PAGE_BYTES;
    for (let done = 0; done < this.#chunkBytes;) {
      const where = { path, number: this.#nextPage + Math.floor(done / PAGE_BYTES) };
      const position = this.#nextPage * PAGE_BYTES + done;
      const { bytesRead } = await readAsync(
        fd,
        this.#chunk,
        done,
        this.#chunkBytes - done,
        position,
      ).catch((cause: unknown) => {
        throw pageDamaged(where, cause);
      });
      if (bytesRead === 0) throw pageDamaged(where, undefined);
      done += bytesRead;
    }
    for (let at = 0; at < this.#chunkBytes; at += PAGE_BYTES) {
      const body = this.#chunk.subarray(at + 4, at + PAGE_BYTES);
      const where = { path, number: this.#nextPage++ };
      checkPage(this.#chunk.subarray(at, at + PAGE_BYTES), body, where);
    }
    this.#nextPageAt = 0;
    return this.#enterPage();
  }

  #enterPage(): boolean {
    if (this.#nextPageAt === this.#chunkBytes) return false;
    this.offset = this.#nextPageAt + PAGE_HEADER_BYTES;
    const recordCount = this.view.getUint32(this.#nextPageAt + 12, true);
    this.#pageEnd = this.offset + recordCount * RECORD_BYTES;
    this.#nextPageAt += PAGE_BYTES;
    this.#word = this.view.getUint32(this.offset);
    return true;
  }
}
