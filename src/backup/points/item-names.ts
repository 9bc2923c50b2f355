/** The names of the items that have points. The log knows their keyed hashes only; manifests hold names. */
import { HoldfastError, isHoldfastError } from '#base';
import { readManifest, type Repository } from '#repository';

/** An item none of whose manifests can be read any more. */
const UNKNOWN = 'unknown';

const LISTED = 10;

/** By point id: the name of its item. Reads one manifest an item. */
export async function itemNames(repository: Repository): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  const visible = [...repository.state.points.values()].filter((point) => point.visible);
  for (const points of Map.groupBy(visible, (point) => point.item).values()) {
    const name = await nameOf(repository, points);
    for (const { point } of points) names.set(point, name);
  }
  return names;
}

/**
 * That the item has a point.
 *
 * @throws {HoldfastError} `PointNotFound` naming the items that have one.
 */
export async function checkItem(repository: Repository, item: string): Promise<void> {
  const { state, parts } = repository;
  const id = parts.keyring.itemId(item);
  if ([...state.points.values()].some((point) => point.visible && point.item === id)) return;
  throw new HoldfastError(
    'PointNotFound',
    `there is no recovery point of ${item}: ${await itemsThere(repository)}`,
  );
}

/** For messages: "the items are db, web". */
export async function itemsThere(repository: Repository): Promise<string> {
  const names = [...new Set((await itemNames(repository)).values())].sort();
  if (names.length === 0) return 'the repository has none at all';
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  const shown = names.slice(0, LISTED).join(', ');
  return names.length === 1 ? `the only item is ${shown}` : `the items are ${shown}${more}`;
}

async function nameOf(
  repository: Repository,
  points: Iterable<Parameters<typeof readManifest>[1]>,
): Promise<string> {
  for (const point of points) {
    try {
      return (await readManifest(repository.parts, point)).item;
    } catch (error) {
      const isLost =
        isHoldfastError(error) && (error.kind === 'corrupt' || error.kind === 'notFound');
      if (!isLost) throw error;
    }
  }
  return UNKNOWN;
}
