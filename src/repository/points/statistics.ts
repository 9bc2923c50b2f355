/** The repository's sizes: stored, live, dead and reclaimed are four figures, never mixed. */
import type { RepositoryParts } from '../repository-parts.ts';

export type RepositoryStatistics = {
  /** Packs, whole: live + dead + overhead. Packs that are doomed but not deleted are not in it. */
  readonly storedBytes: number;
  /** Shares of what some point needs. */
  readonly liveBytes: number;
  /** Shares of what no point needs; compaction reclaims them. */
  readonly deadBytes: number;
  /** Headers and footers of packs. */
  readonly overheadBytes: number;
  /**
   * Packs that compaction has deleted since the beginning, whole. What was live in them was moved first, so
   * this is more than the space that was gained.
   */
  readonly reclaimedBytes: number;
  readonly points: number;
  readonly items: number;
  /** Stored copies of blocks, dead ones included. */
  readonly blocks: number;
  /** Stored copies of map pages. */
  readonly pages: number;
  readonly packs: number;
  readonly blockSize: number;
  readonly logEntries: number;
  /** Hex SHA-256 of the newest log entry: who remembers it sees a repository put back to an older state. */
  readonly logHash: string;
  readonly damagedFrames: number;
  readonly openSessions: number;
  readonly pins: number;
};

export function repositoryStatistics(parts: RepositoryParts): RepositoryStatistics {
  const { state } = parts.history;
  const totals = { stored: 0, live: 0, frames: 0, blocks: 0, pages: 0 };
  for (const row of parts.keeper.packs.rows()) {
    const pack = state.packs.get(row.id);
    if (pack === undefined) continue;
    totals.stored += pack.sizeBytes;
    totals.live += row.liveBytes;
    totals.frames += row.frameBytes;
    if (pack.kind === 'data') totals.blocks += row.slotCount;
    else totals.pages += row.slotCount;
  }
  const visible = [...state.points.values()].filter((point) => point.visible);
  return {
    storedBytes: totals.stored,
    liveBytes: totals.live,
    deadBytes: totals.frames - totals.live,
    overheadBytes: totals.stored - totals.frames,
    reclaimedBytes: state.reclaimedBytes,
    points: visible.length,
    items: new Set(visible.map((point) => point.item)).size,
    blocks: totals.blocks,
    pages: totals.pages,
    packs: state.packs.size,
    blockSize: parts.keyring.blockSize,
    logEntries: state.number + 1,
    logHash: state.hash,
    damagedFrames: [...state.damage.values()].reduce((sum, frames) => sum + frames.size, 0),
    openSessions: state.sessions.size,
    pins: state.pins.size,
  };
}
