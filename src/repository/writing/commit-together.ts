/**
 * Several points, of as many items, that become visible by one entry of the log: all or none (docs/format.md §5).
 *
 * ```
 *   session.ready, each ─► manifests ─► points-committed: all are visible, their sessions have ended
 *          └── cancelReady: its session ends without a point, what is sealed is kept
 * ```
 * Killed before the entry: the sessions are adopted like any other, and no point is there.
 */
import { HoldfastError } from '#base';
import type { LoggedDisk, LoggedPoint } from '../log/log-entry.ts';
import { manifestName, writeManifest, type Manifest } from '../points/manifest.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/** A point whose packs are durable and in the log; its session is open. */
export type ReadyPoint = {
  readonly session: string;
  readonly disks: readonly LoggedDisk[];
  readonly manifest: Manifest;
};

/** Their time is one. @throws {HoldfastError} `SessionEnded`: nothing is visible; the store's. */
export async function commitTogether(
  parts: RepositoryParts,
  ready: readonly ReadyPoint[],
): Promise<void> {
  const points: LoggedPoint[] = [];
  const timeMs = parts.clock.nowMs();
  for (const { session, disks, manifest } of ready) {
    const manifestHash = await writeManifest(parts, { ...manifest, timeMs });
    const item = parts.keyring.itemId(manifest.item);
    points.push({ session, point: manifest.point, item, disks, manifestHash });
  }
  await parts.append(({ sessions }) => {
    if (points.every(({ session }) => sessions.has(session))) {
      return { type: 'points-committed', points };
    }
    throw new HoldfastError('SessionEnded', 'this backup was ended by the repository’s owner');
  });
}

/** Ends its session without a point, unless that has ended. */
export async function cancelReady(
  parts: RepositoryParts,
  { session, manifest }: ReadyPoint,
): Promise<void> {
  const { point } = manifest;
  await parts.append(({ sessions }) =>
    sessions.has(session)
      ? { type: 'session-ended', session, outcome: 'cancelled', packs: [] }
      : undefined,
  );
  if (parts.history.state.points.has(point)) return; // It was committed.
  await parts.store.delete(manifestName(parts.keyring.itemId(manifest.item), point));
}
