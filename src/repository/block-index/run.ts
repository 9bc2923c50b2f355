/**
 * An open run: file descriptor, fences, filter. Runs are pinned by whoever uses them; the last
 * release closes the descriptor and, if a merge has replaced the run, deletes the file.
 */
import assert from 'node:assert/strict';
import { close, closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { filterScale, LINE_BYTES } from './filter.ts';
import { PAGE_BYTES } from './page.ts';
import {
  decodeFooter,
  FOOTER_BYTES,
  indexDamaged,
  type Footer,
  type RunMeta,
  type SharedRun,
} from './run-format.ts';

export const readAsync = promisify(read);
const closeAsync = promisify(close);
const LOAD_BYTES = 1 << 20;
let lastSerial = 0;

/** What another thread needs to open a run; structured-cloneable. */
export type RunSnapshot = RunMeta & SharedRun & { readonly path: string };

export class Run {
  #path: string;
  readonly meta: RunMeta;
  readonly shared: SharedRun;
  readonly fd: number;
  /** Distinct among the runs of this thread, also after they are closed. */
  readonly serial: number;
  readonly fences: Uint32Array;
  readonly filter: Uint32Array;
  readonly scale: number;
  #pins = 1;
  #isObsolete = false;

  private constructor(fd: number, { path, fences, filter, ...meta }: RunSnapshot) {
    this.fd = fd;
    this.#path = path;
    this.meta = meta;
    this.shared = { fences, filter };
    this.serial = ++lastSerial;
    this.fences = new Uint32Array(fences);
    this.filter = new Uint32Array(filter);
    this.scale = filterScale(meta.lineCount);
  }

  /**
   * Opens the file at `path` and loads fences and filter, which are checked; pages are checked when
   * they are read. The caller releases.
   *
   * @throws {HoldfastError} `IndexDamaged` if it is missing or not the run that `meta` describes.
   */
  static async load(path: string, meta: RunMeta): Promise<Run> {
    const fd = openRun(path);
    try {
      const footer = readFooter(fd, path, meta);
      const shared: SharedRun = {
        fences: new SharedArrayBuffer(meta.pageCount * 8),
        filter: new SharedArrayBuffer(meta.lineCount * LINE_BYTES),
      };
      const fencesAt = meta.pageCount * PAGE_BYTES;
      const fencesCrc = await loadTable(fd, shared.fences, fencesAt);
      const filterCrc = await loadTable(fd, shared.filter, fencesAt + meta.pageCount * 8);
      if (fencesCrc !== footer.fencesCrc || filterCrc !== footer.filterCrc) {
        throw indexDamaged(`the tables of ${path} are damaged`, { reason: 'damaged', path });
      }
      return new Run(fd, { path, ...meta, ...shared });
    } catch (error) {
      await closeAsync(fd);
      throw error;
    }
  }

  /** Opens a run whose tables another thread has loaded. Errors as `load`. */
  static attach(snapshot: RunSnapshot): Run {
    return new Run(openRun(snapshot.path), snapshot);
  }

  get path(): string {
    return this.#path;
  }

  get sizeBytes(): number {
    return fileBytes(this.meta);
  }

  snapshot(): RunSnapshot {
    return { path: this.path, ...this.meta, ...this.shared };
  }

  retain(): this {
    assert(this.#pins > 0);
    this.#pins++;
    return this;
  }

  async release(): Promise<void> {
    assert(this.#pins > 0);
    if (--this.#pins > 0) return;
    if (this.#isObsolete) await rm(this.path, { force: true });
    await closeAsync(this.fd);
  }

  /** Closes at once; for a reader, which alone holds its run and never deletes. */
  closeReader(): void {
    if (this.#pins === 0) return;
    this.#pins = 0;
    closeSync(this.fd);
  }

  /** The file lies in `dir` from now on, under the same name. */
  movedTo(dir: string): void {
    this.#path = join(dir, basename(this.#path));
  }

  /** The file goes with the last release: no manifest names it any more. */
  markObsolete(): void {
    this.#isObsolete = true;
  }
}

const fileBytes = (meta: RunMeta): number =>
  meta.pageCount * (PAGE_BYTES + 8) + meta.lineCount * LINE_BYTES + FOOTER_BYTES;

function openRun(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw indexDamaged(`the run ${path} cannot be opened`, { reason: 'damaged', path, cause });
  }
}

function readFooter(fd: number, path: string, meta: RunMeta): Footer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  const sizeBytes = fileBytes(meta);
  let footer: Footer | undefined;
  if (fstatSync(fd).size === sizeBytes) {
    readSync(fd, bytes, 0, FOOTER_BYTES, sizeBytes - FOOTER_BYTES);
    footer = decodeFooter(bytes);
  }
  const isSame =
    footer !== undefined &&
    footer.pageCount === meta.pageCount &&
    footer.lineCount === meta.lineCount &&
    footer.recordCount === meta.recordCount &&
    footer.idCount === meta.idCount;
  if (footer === undefined || !isSame) {
    throw indexDamaged(`${path} is not the run it should be`, { reason: 'damaged', path });
  }
  return footer;
}

/** Fills `table` from `position` on; returns the CRC-32 of what was read. */
async function loadTable(fd: number, table: SharedArrayBuffer, position: number): Promise<number> {
  let crc = 0;
  for (let at = 0; at < table.byteLength;) {
    const slice = Buffer.from(table, at, Math.min(LOAD_BYTES, table.byteLength - at));
    const { bytesRead } = await readAsync(fd, slice, 0, slice.length, position + at);
    if (bytesRead === 0) return -1;
    crc = crc32(slice.subarray(0, bytesRead), crc);
    at += bytesRead;
  }
  return crc;
}
