/**
 * Gives the space of deleted and expired points back: quietly, one vault after another, while no job works in it;
 * soon after data was deleted, else once a day. What one run may move is bounded; the next goes on.
 */
import { compactRepository, repositoryStatistics } from '#backup';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { freeingSpace } from '../repositories/freeing-space.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** A vault that is never without jobs is compacted beside them in the end. */
const LATEST_MS = 3 * DAY_MS;
/** Of live data moved in one run. */
const BUDGET_BYTES = 4 * 1024 ** 3;

const factOf = (vaultId: string): string => `compactedAt ${vaultId}`;

/** Data of the vault was deleted: its next compaction is due. */
export async function compactSoon(change: CatalogueChange, vaultId: string): Promise<void> {
  await change.deleteFrom('facts').where('name', '=', factOf(vaultId)).execute();
}

/** Compacts the vaults that are due; a failure of one is told, and tried again when it is due next. */
export async function compactVaults(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  const vaults = await parts.catalogue.read.selectFrom('vaults').select(['id', 'name']).execute();
  for (const vault of vaults) {
    if (signal.aborted) return;
    if (await isDue(parts, vault.id)) await compactVault(parts, vault, signal);
  }
}

async function isDue({ catalogue, clock }: ServiceParts, vaultId: string): Promise<boolean> {
  const fact = await catalogue.read
    .selectFrom('facts')
    .select('value')
    .where('name', '=', factOf(vaultId))
    .executeTakeFirst();
  // A clock that was set back must not put it off for ever.
  const sinceMs = fact === undefined ? undefined : Math.abs(clock.nowMs() - Number(fact.value));
  if (sinceMs !== undefined && sinceMs < DAY_MS) return false;
  if (sinceMs !== undefined && sinceMs >= LATEST_MS) return true;
  const busy = await catalogue.read
    .selectFrom('jobs')
    .select('id')
    .where('vaultId', '=', vaultId)
    .where('endedAt', 'is', null)
    .executeTakeFirst();
  return busy === undefined;
}

async function compactVault(
  parts: ServiceParts,
  { id, name }: { readonly id: string; readonly name: string },
  signal: AbortSignal,
): Promise<void> {
  const { catalogue, clock, log } = parts;
  try {
    const compact = async (repository: OpenRepository) =>
      await compactRepository(repository.parts, { signal, budgetBytes: BUDGET_BYTES });
    // Where nothing is dead only packs are merged, which frees nothing: the reserve is not for that.
    const result = (await hasDead(parts, id))
      ? await freeingSpace(parts, id, compact)
      : await parts.repositories.use(id, compact);
    log.info({ vault: name, ...result }, 'compacted');
  } catch (error) {
    if (signal.aborted) return;
    log.error({ vault: name, error: String(error) }, 'a vault could not be compacted');
  }
  await catalogue.change(async (change) => {
    const value = String(clock.nowMs());
    await change
      .insertInto('facts')
      .values({ name: factOf(id), value })
      .onConflict((known) => known.column('name').doUpdateSet({ value }))
      .execute();
  });
}

async function hasDead({ repositories }: ServiceParts, vaultId: string): Promise<boolean> {
  return await repositories.read(
    vaultId,
    async ({ parts }) => repositoryStatistics(parts).deadBytes > 0,
  );
}
