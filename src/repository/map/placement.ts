/** The signatures that the map's walks share: where pages come from, where deltas go. */

/** Gives pages by id, each exactly 1024 bytes and already checked against its id. */
export type PageSource = {
  /** The page if it is at hand without waiting. */
  readonly cached: (id: Buffer) => Buffer | undefined;
  /** @throws {HoldfastError} `BlockMissing` or `ObjectDamaged`, naming the page. */
  readonly page: (id: Buffer) => Promise<Buffer>;
};

/**
 * Takes one change of a placement count. `id` is a view into a page: copy it if it is kept. Called in
 * a fixed order (depth first, entries ascending; a page before what is below it), so that a step can
 * be resumed by skipping as many deltas as were applied.
 */
export type PlacementSink = (kind: 'block' | 'page', id: Buffer, delta: 1 | -1) => void;
