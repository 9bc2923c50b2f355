/** What the NBD server needs of a disk. */
import type { Extent } from './extent.ts';

/** What can be served; every `DiskSource` can. The server closes none of them. */
export interface ServedDisk {
  readonly sizeBytes: number;
  /** Fills all of `target`; a rejection reaches the client as an input/output error with its text. */
  read(offsetBytes: number, target: Uint8Array): Promise<void>;
  /** As `DiskSource.dataExtents`; without it everything is shown as data. */
  dataExtents?(range: Extent): Promise<Extent[]>;
}
