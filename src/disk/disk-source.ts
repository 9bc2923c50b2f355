/**
 * The contracts of the room: a disk that can be read, a disk that can be written, and the plain data
 * from which a worker thread opens its own handle on either.
 *
 * The main thread *prepares* (checks the format, starts a server for it, learns size and extents) and
 * owns what it started; workers open a spec, use it and close it before the main thread closes.
 */
import type { Clock } from '#base';
import type { Extent } from './extent.ts';

export interface DiskSource {
  readonly sizeBytes: number;
  /** For messages: the path or address. */
  readonly description: string;
  /**
   * Fills `target` completely from byte `offsetBytes`; holes read as zeros. Any number of calls may
   * be under way at once; after a rejection the content of `target` is undefined.
   *
   * @throws {HoldfastError} `DiskRangeInvalid` if the range leaves the disk; `DiskReadFailed` (its
   *   details name the offset) if a place is unreadable; `DiskChanged` if the image became smaller;
   *   `DiskUnavailable` (retryable) if its server went away and did not come back; `Cancelled`.
   */
  read(offsetBytes: number, target: Uint8Array): Promise<void>;
  /**
   * The extents that may hold data, sorted, disjoint, inside `range` (default: the whole disk);
   * everything else is known to read as zeros.
   */
  dataExtents(range?: Extent): Promise<Extent[]>;
  /** Frees the handle or connection. Idempotent. */
  close(): Promise<void>;
}

export interface DiskTarget extends DiskSource {
  /**
   * Whether everything not yet written reads as zeros. On such a target `writeZeroes` and writes of
   * only zeros may do nothing, so a place must be written at most once.
   */
  readonly fresh: boolean;
  /**
   * Writes all of `bytes`, which must not change until the promise settles. Durable after `flush`.
   *
   * @throws {HoldfastError} `DiskRangeInvalid`, `DiskWriteFailed` (names the offset),
   *   `DiskUnavailable`, `Cancelled`.
   */
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>;
  /** Makes the range read as zeros, without storing zeros where that can be avoided. */
  writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void>;
  /** On return everything written before through this target is durable. */
  flush(): Promise<void>;
}

/** Plain data that may cross to a worker thread: what `openSource` needs. */
export type DiskSpec =
  | { readonly kind: 'raw'; readonly path: string; readonly sizeBytes: number }
  | {
      readonly kind: 'nbd';
      readonly uri: string;
      readonly sizeBytes: number;
      /** The image that our own server shows there, for messages. */
      readonly image?: string;
      /** No read crosses a multiple of this many bytes: see `PrepareOptions.saved`. */
      readonly pieceBytes?: number;
    };

/** As `DiskSpec`, for `openTarget`. */
export type TargetSpec =
  | (DiskSpec & { readonly fresh: boolean })
  | {
      /** Filled by ourselves, see new-qcow2-image.ts. */
      readonly kind: 'newQcow2';
      readonly path: string;
      readonly sizeBytes: number;
      readonly fresh: true;
    };

export type OpenOptions = {
  readonly clock: Clock;
  /** Aborting makes calls under way and later ones fail with `Cancelled`. */
  readonly signal?: AbortSignal;
};
