/** What a vault, an item and a point cost in a month, from the readings in the catalogue. Opens no repository. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';
import { pointByteDays, sumOf, type MonthSum } from './charge-month.ts';
import {
  priceIn,
  readMonth,
  readMonthDays,
  readPrices,
  type ChargedItem,
  type StoredMonth,
} from './charge-rows.ts';
import type { RepositorySizes } from './measure-vault.ts';
import { instanceCost, splitCost, storageCost, type PriceSheet } from './price-sheet.ts';
import { daysIn, endOfDay, parseMonth } from './utc-days.ts';

/** Whole millionths of the currency. */
export type Costs = {
  readonly currency: string;
  readonly instance: number;
  readonly storage: number;
};

type PointCharges = {
  readonly id: string;
  readonly byteDays: number;
  /** Its part of the item's storage; undefined without prices. */
  readonly cost: number | undefined;
};

export type ItemCharges = MonthSum & {
  readonly item: ChargedItem;
  readonly month: string;
  readonly daysInMonth: number;
  /** Undefined: the month has no prices. */
  readonly costs: Costs | undefined;
};

export type ItemChargesByPoint = ItemCharges & {
  /** In the order of their ids; their parts add up. */
  readonly points: readonly PointCharges[];
};

export type VaultCharges = {
  readonly month: string;
  readonly daysInMonth: number;
  readonly sheet: PriceSheet | undefined;
  /** Items that had data, by VM; some may be gone. */
  readonly items: readonly ItemCharges[];
  readonly costs: Costs | undefined;
  /** The newest reading, of whichever month; undefined: there was none yet. */
  readonly newest:
    | {
        /** The end of the day that it is of; ms. */
        readonly at: number;
        /** Undefined after a catalogue was lost, until the next reading. */
        readonly sizes: RepositorySizes | undefined;
        /** Of `sizes.liveBytes` what points of items own; the rest is of `holdfast repo`. */
        readonly ownedBytes: number;
      }
    | undefined;
};

/**
 * @param month `2026-11`
 * @throws {HoldfastError} `ResourceNotFound`, `ArgumentInvalid`.
 */
export async function vaultCharges(
  reader: CatalogueReader,
  name: VaultName,
  month: string,
): Promise<VaultCharges> {
  parseMonth(month);
  const { id } = await getVault(reader, name);
  const sheet = priceIn(await readPrices(reader, id), month);
  const months = await readMonthDays(reader, { vaultId: id, month });
  const items = months.map((stored) => chargesOf(stored, sheet));
  return {
    month,
    daysInMonth: daysIn(month),
    sheet,
    items,
    costs: sheet === undefined ? undefined : sumOfCosts(sheet, items),
    newest: await newestReading(reader, id),
  };
}

/**
 * Of an item, which may be gone.
 *
 * @throws {HoldfastError} as `vaultCharges`; `ChargesNotFound`.
 */
export async function itemCharges(
  reader: CatalogueReader,
  of: { readonly vault: VaultName; readonly itemId: string },
  month: string,
): Promise<ItemChargesByPoint> {
  parseMonth(month);
  const { id: vaultId } = await getVault(reader, of.vault);
  const [stored] = await readMonth(reader, { vaultId, month, itemId: of.itemId });
  if (stored !== undefined) {
    return chargesByPoint(stored, priceIn(await readPrices(reader, vaultId), month));
  }
  throw new HoldfastError(
    'ChargesNotFound',
    `Nothing is charged in ${month}: no day has been read at whose end the VM had recovery points.`,
  );
}

export function chargesByPoint(
  stored: StoredMonth,
  sheet: PriceSheet | undefined,
): ItemChargesByPoint {
  const charges = chargesOf(stored, sheet);
  const byPoint = [...pointByteDays(stored)];
  const weights = byPoint.map(([, byteDays]) => byteDays);
  const parts = charges.costs && splitCost(charges.costs.storage, weights);
  const points = byPoint.map(([id, byteDays], at) => ({ id, byteDays, cost: parts?.[at] }));
  return { ...charges, points };
}

function chargesOf(
  stored: Omit<StoredMonth, 'points'>,
  sheet: PriceSheet | undefined,
): ItemCharges {
  const { item, month } = stored;
  const daysInMonth = daysIn(month);
  const sum = sumOf(stored);
  const costs = sheet && {
    currency: sheet.currency,
    instance: instanceCost(sheet, sum.unitDays, daysInMonth),
    storage: storageCost(sheet, sum.byteDays, daysInMonth),
  };
  return { item, month, daysInMonth, ...sum, costs };
}

function sumOfCosts({ currency }: PriceSheet, items: readonly ItemCharges[]): Costs {
  const total = { currency, instance: 0, storage: 0 };
  for (const { costs } of items) {
    total.instance += costs?.instance ?? 0;
    total.storage += costs?.storage ?? 0;
  }
  return total;
}

async function newestReading(
  reader: CatalogueReader,
  vaultId: string,
): Promise<VaultCharges['newest']> {
  const query = reader.selectFrom('chargeReadings').selectAll().where('vaultId', '=', vaultId);
  const row = await query.executeTakeFirst();
  if (row === undefined) return undefined;
  const owned = await reader
    .selectFrom('chargedPoints')
    .select(({ fn }) => fn.sum<number | null>('ownedBytes').as('bytes'))
    .where('vaultId', '=', vaultId)
    .executeTakeFirst();
  return {
    at: endOfDay(row.day),
    sizes: row.sizes === null ? undefined : (JSON.parse(row.sizes) as RepositorySizes),
    ownedBytes: Number(owned?.bytes ?? 0),
  };
}
