/** The price sheets of a vault: each is valid from its month until the next one's. */
import { noteActivity } from '../activities/activities.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';
import { pricesDocument, putPrices, readPrices, type PricedFrom } from './charge-rows.ts';
import { parsePriceSheet } from './price-sheet.ts';
import { parseMonth } from './utc-days.ts';

/** Oldest first. @throws {HoldfastError} `ResourceNotFound`. */
export async function listPrices(
  { catalogue }: Pick<ServiceParts, 'catalogue'>,
  name: VaultName,
): Promise<readonly PricedFrom[]> {
  return await readPrices(catalogue.read, (await getVault(catalogue.read, name)).id);
}

/**
 * Prices the month and those that follow it, until one with a sheet of its own. A month that is over is priced
 * anew, too: its quantities stay.
 *
 * @param wanted.sheet in the shape of `PriceSheet`; undefined: the month has none of its own any more.
 * @throws {HoldfastError} `ResourceNotFound`, `ArgumentInvalid` for the month, `PriceSheetInvalid`.
 */
export async function putPriceSheet(
  parts: ServiceParts,
  name: VaultName,
  wanted: { readonly month: string; readonly sheet: unknown },
): Promise<readonly PricedFrom[]> {
  const month = parseMonth(wanted.month);
  const own = wanted.sheet === undefined ? [] : [{ month, sheet: parsePriceSheet(wanted.sheet) }];
  const vault = await getVault(parts.catalogue.read, name);
  return await changeVault(parts, vault.id, async () => {
    const before = await readPrices(parts.catalogue.read, vault.id);
    const sheets = [...before.filter((one) => one.month !== month), ...own].toSorted((a, b) =>
      a.month < b.month ? -1 : 1,
    );
    return {
      documents: [pricesDocument(sheets)],
      apply: async (change) => {
        await putPrices(change, vault.id, sheets);
        await noteActivity(parts, change, {
          action: own.length === 0 ? 'delete price sheet' : 'put price sheet',
          target: `${vault.group}/${vault.name}`,
          detail: { month },
        });
        return sheets;
      },
    };
  });
}
