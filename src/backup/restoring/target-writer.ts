/**
 * Writes restored content to one output: as it is to a new one, and to one that existed only the blocks
 * that differ. Some writes are under way at once; what is written is sent to the disk early, so that
 * little is left to do at the end.
 */
import type { DiskTarget } from '#disk';

const MOST_WRITES = 8;
/** How much is written before the disk is told to start. */
const WRITEBACK_BYTES = 256 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

export class TargetWriter {
  readonly #target: DiskTarget;
  readonly #blockSize: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #sinceWriteback = 0;
  #writeback: Promise<void> | undefined;
  /** Bytes written so far, content only. */
  writtenBytes = 0;

  constructor(target: DiskTarget, blockSize: number) {
    this.#target = target;
    this.#blockSize = blockSize;
  }

  get sizeBytes(): number {
    return this.#target.sizeBytes;
  }

  /**
   * Begins to write whole blocks. `bytes` must not change before `written` is called, when they have been
   * written or failed to be. Throws what an earlier write threw.
   */
  async write(offset: number, bytes: Buffer, written: () => void = () => {}): Promise<void> {
    const inside = bytes.subarray(0, Math.min(bytes.length, this.sizeBytes - offset));
    await this.#start(() => {
      const put = this.#target.fresh
        ? this.#put(offset, inside)
        : this.#putDifferent(offset, inside);
      return put.finally(written);
    });
  }

  /** Makes a range of whole blocks zero, where it is not. */
  async clear(offset: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const piece = Math.min(PIECE_BYTES, length - at);
      await this.#start(() => this.#putDifferent(offset + at, Buffer.alloc(piece)));
    }
  }

  /** Waits for all writes. @throws what the first of them that failed threw. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
    this.#throwFailure();
  }

  async flush(): Promise<void> {
    await this.settle();
    await this.#writeback;
    this.#throwFailure();
    await this.#target.flush();
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#writeback;
    await this.#target.close();
  }

  async #start(act: () => Promise<void>): Promise<void> {
    while (this.#running.size >= MOST_WRITES) await Promise.race(this.#running);
    this.#throwFailure();
    const running = act()
      .catch(this.#fail)
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #put(offset: number, bytes: Buffer): Promise<void> {
    await this.#target.write(offset, bytes);
    this.writtenBytes += bytes.length;
    this.#sinceWriteback += bytes.length;
    if (this.#sinceWriteback < WRITEBACK_BYTES || this.#writeback !== undefined) return;
    this.#sinceWriteback = 0;
    this.#writeback = this.#target
      .flush()
      .catch(this.#fail)
      .finally(() => {
        this.#writeback = undefined;
      });
  }

  /** Writes the runs of blocks that differ from what is there. */
  async #putDifferent(offset: number, bytes: Buffer): Promise<void> {
    const present = Buffer.allocUnsafeSlow(bytes.length);
    await this.#target.read(offset, present);
    if (present.equals(bytes)) return;
    let runStart: number | undefined;
    for (let at = 0; at < bytes.length + this.#blockSize; at += this.#blockSize) {
      const end = Math.min(at + this.#blockSize, bytes.length);
      const isSame =
        at >= bytes.length || present.subarray(at, end).equals(bytes.subarray(at, end));
      if (!isSame) runStart ??= at;
      else if (runStart !== undefined) {
        await this.#putRun(offset + runStart, bytes.subarray(runStart, Math.min(at, bytes.length)));
        runStart = undefined;
      }
    }
  }

  async #putRun(offset: number, bytes: Buffer): Promise<void> {
    if (!isZero(bytes)) {
      await this.#put(offset, bytes);
      return;
    }
    await this.#target.writeZeroes(offset, bytes.length);
    this.writtenBytes += bytes.length;
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error };
  };

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error as Error;
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1));
}
