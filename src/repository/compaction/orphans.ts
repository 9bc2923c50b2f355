/**
 * Objects that the log does not know: packs that a dead session left behind where adoption could not see
 * them, manifests of points that are gone. The log knows every one that matters, so what it does not know
 * of a session that it has seen begin is not needed.
 *
 * A session that it has not seen begin is another matter: the log was cut off at its end, and these objects
 * may be the last there is of points that were committed. They are kept (promise 3: no absence decides).
 */
import { isHoldfastError } from '#base';
import { parsePackName } from '../pack/pack-id.ts';
import type { RepositoryParts } from '../repository-parts.ts';

export type Orphans = {
  /** Objects deleted. */
  readonly deleted: number;
  /** Objects of sessions that the log has not seen: kept. */
  readonly unknown: number;
};

/** What an object's name says about where it comes from. */
type Origin =
  | { readonly name: string; readonly session: string }
  | { readonly name: string; readonly point: string };

/**
 * Deletes orphans.
 *
 * @param options.deletesUnknown also those of sessions that the log has not seen.
 */
export async function deleteOrphans(
  parts: RepositoryParts,
  options: { readonly deletesUnknown: boolean },
): Promise<Orphans> {
  const orphans = await findOrphans(parts);
  if (orphans.length === 0) return { deleted: 0, unknown: 0 };
  const doomed = options.deletesUnknown ? orphans : await onlyAnnounced(parts, orphans);
  for (const { name } of doomed) await parts.store.delete(name);
  return { deleted: doomed.length, unknown: orphans.length - doomed.length };
}

async function findOrphans(parts: RepositoryParts): Promise<Origin[]> {
  const listed: string[] = [];
  for await (const { name } of parts.store.list('packs/')) listed.push(name);
  for await (const { name } of parts.store.list('points/')) listed.push(name);
  // Whatever was listed was announced in the log before: read on, and stop if we own it no more.
  await parts.history.catchUp();
  await parts.append(() => undefined);
  const { state } = parts.history;
  const openPoints = new Set([...state.sessions.values()].map((session) => session.point));
  return listed.flatMap((name): Origin[] => {
    const pack = parsePackName(name)?.toString('hex');
    if (pack !== undefined) {
      const session = pack.slice(0, 32);
      const isKnown =
        state.packs.has(pack) || state.doomed.has(pack) || state.sessions.has(session);
      return isKnown ? [] : [{ name, session }];
    }
    const point = /^points\/[0-9a-f]{32}\/([0-9]+)$/.exec(name)?.[1];
    const isOrphan = point !== undefined && !state.points.has(point) && !openPoints.has(point);
    return isOrphan ? [{ name, point }] : [];
  });
}

/** Those whose session the log has seen begin; it is read backwards until all are found. */
async function onlyAnnounced(
  parts: RepositoryParts,
  orphans: readonly Origin[],
): Promise<readonly Origin[]> {
  const wanted = new Set(orphans.map(keyOf));
  const found = new Set<string>();
  for (
    let number = parts.history.state.number;
    number >= 0 && found.size < wanted.size;
    number -= 1
  ) {
    for (const key of await announcedBy(parts, number)) if (wanted.has(key)) found.add(key);
  }
  return orphans.filter((orphan) => found.has(keyOf(orphan)));
}

async function announcedBy(parts: RepositoryParts, number: number): Promise<readonly string[]> {
  try {
    const entry = await parts.history.entry(number);
    if (entry.type !== 'session-begun') return [];
    return [entry.session, ...(entry.point === undefined ? [] : [entry.point])];
  } catch (error) {
    // What it announced stays: nothing is deleted for want of knowledge.
    if (isHoldfastError(error, 'LogDamaged')) return [];
    throw error;
  }
}

function keyOf(origin: Origin): string {
  return 'session' in origin ? origin.session : origin.point;
}
