/** What an index needs to know of packs, and how much memory it may use. */

export type IndexOptions = {
  /**
   * Whether the pack with this number is gone: its copies are not found. Numbers count up from 0 and
   * are never used again; a pack that is gone stays gone.
   */
  readonly isPackGone: (packNumber: number) => boolean;
  /** Size of the memtable, 40 bytes a record. */
  readonly memtableRecords?: number;
};
