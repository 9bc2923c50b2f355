/** Verification of a repository for people: with the names of items, and a memory of what was read when. */
import { join } from 'node:path';
import { isHoldfastError } from '#base';
import { readManifest, verifyRepository, type Repository, type VerifyResult } from '#repository';

type VerifyOptions = Omit<NonNullable<Parameters<typeof verifyRepository>[1]>, 'memoryFile'>;

/** When each pack was read last: a cache beside the objects, no part of the format. */
const MEMORY_FILE = 'read-times';

/** As `verifyRepository`; the `item` of each point is the item's name where its manifest can be read. */
export async function verify(
  repository: Repository,
  options: VerifyOptions,
): Promise<VerifyResult> {
  const memoryFile = join(repository.parts.store.location, MEMORY_FILE);
  const found = await verifyRepository(repository, { ...options, memoryFile });
  const names = new Map<string, string>();
  const touched = [...found.points, ...found.damage.flatMap(({ points }) => points ?? [])];
  for (const point of touched) {
    if (!names.has(point.point)) names.set(point.point, await itemNameOf(repository, point));
  }
  const named = <Point extends { readonly point: string; readonly item: string }>(
    points: readonly Point[],
  ): Point[] => points.map((point) => ({ ...point, item: names.get(point.point) ?? point.item }));
  const damage = found.damage.map((one) =>
    one.points === undefined ? one : { ...one, points: named(one.points) },
  );
  return { ...found, damage, points: named(found.points) };
}

async function itemNameOf(
  repository: Repository,
  { point, item }: { readonly point: string; readonly item: string },
): Promise<string> {
  const known = repository.state.points.get(point);
  if (known === undefined) return item;
  try {
    return (await readManifest(repository.parts, known)).item;
  } catch (error) {
    if (isHoldfastError(error)) return item; // The manifest is in the list of what is damaged.
    throw error;
  }
}
