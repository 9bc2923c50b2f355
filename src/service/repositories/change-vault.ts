/**
 * The one way to change what a repository must remember (decision 0008, invariants 1 and 2):
 *
 * ```
 *   turn of the vault ─► plan: checks, reads ─► documents durable ─► catalogue, with their revisions ─► answer
 * ```
 * Killed before the documents: nothing happened. After: the next start applies them (vault-takeover.ts).
 */
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { NewRow } from '../catalogue/schema.ts';
import type { ServiceParts } from '../service-parts.ts';

export type VaultDocument = {
  readonly id: string;
  /** Undefined: it is gone. */
  readonly value: unknown;
};

export type VaultChange<Result> = {
  readonly documents: readonly VaultDocument[];
  /** Writes what the documents say, and what only the catalogue holds. */
  readonly apply: (change: CatalogueChange) => Promise<Result>;
};

/** @throws {HoldfastError} what `plan` and `apply` throw, and the store's. */
export async function changeVault<Result>(
  parts: Pick<ServiceParts, 'catalogue' | 'repositories' | 'turns'>,
  vaultId: string,
  plan: () => Promise<VaultChange<Result>>,
): Promise<Result> {
  const { catalogue, repositories, turns } = parts;
  return await turns(vaultId, async () => {
    const { documents, apply } = await plan();
    const written: { readonly document: string; readonly revision: number }[] = [];
    for (const { id, value } of documents) {
      written.push({ document: id, revision: await repositories.remember(vaultId, id, value) });
    }
    return await catalogue.change(async (change) => {
      for (const one of written) await recordRevision(change, { vaultId, ...one });
      return await apply(change);
    });
  });
}

async function recordRevision(change: CatalogueChange, row: NewRow<'documents'>): Promise<void> {
  const { revision } = row;
  await change
    .insertInto('documents')
    .values(row)
    .onConflict((known) => known.columns(['vaultId', 'document']).doUpdateSet({ revision }))
    .execute();
}
