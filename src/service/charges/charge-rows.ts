/** Months of charges and price sheets as rows of the catalogue and as documents of the repository. */
import { z } from 'zod';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { VaultDocument } from '../repositories/change-vault.ts';
import { CHARGE_DAYS, CHARGE_RUNS, EMPTY_MONTH, type ChargeMonth } from './charge-month.ts';
import { PRICE_SHEET, type PriceSheet } from './price-sheet.ts';
import { firstDayOf, nextMonth } from './utc-days.ts';

/** Whose month it is; the item may be gone. */
export type ChargedItem = {
  readonly id: string;
  readonly vmGroup: string;
  readonly vmName: string;
};

export type StoredMonth = ChargeMonth & { readonly item: ChargedItem; readonly month: string };

export type PricedFrom = { readonly month: string; readonly sheet: PriceSheet };

const MONTH_DOCUMENT = z.strictObject({
  version: z.literal(1),
  /** The last day that was read: its number since 1970-01-01. */
  through: z.int(),
  items: z.array(
    z.strictObject({
      id: z.string(),
      vmGroup: z.string(),
      vmName: z.string(),
      days: CHARGE_DAYS,
      points: CHARGE_RUNS,
    }),
  ),
});

const PRICES_DOCUMENT = z.strictObject({
  version: z.literal(1),
  sheets: z.array(z.strictObject({ month: z.string(), sheet: PRICE_SHEET })),
});

const MONTH_PREFIX = 'charges-';
const PRICES = 'prices';

/**
 * Items without days are left out; without any item the document is gone.
 *
 * @param of.day the last one that was read, in whichever month.
 */
export function monthDocument(
  month: string,
  of: { readonly day: number; readonly months: Iterable<StoredMonth> },
): VaultDocument {
  const items = [...of.months]
    .filter(({ days }) => days.length > 0)
    .map(({ item: { id, vmGroup, vmName }, days, points }) => ({
      id,
      vmGroup,
      vmName,
      days,
      points,
    }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const id = MONTH_PREFIX + month;
  if (items.length === 0) return { id, value: undefined };
  const through = Math.min(of.day, firstDayOf(nextMonth(month)) - 1);
  return { id, value: { version: 1, through, items } };
}

export function pricesDocument(sheets: readonly PricedFrom[]): VaultDocument {
  return { id: PRICES, value: sheets.length === 0 ? undefined : { version: 1, sheets } };
}

/** As the catalogue has them. */
export async function chargeDocuments(
  reader: CatalogueReader,
  vaultId: string,
): Promise<readonly VaultDocument[]> {
  const rows = reader.selectFrom('chargeMonths').selectAll().where('vaultId', '=', vaultId);
  const months = Map.groupBy((await rows.execute()).map(monthOfRow), ({ month }) => month);
  const query = reader.selectFrom('chargeReadings').select('day').where('vaultId', '=', vaultId);
  const day = (await query.executeTakeFirst())?.day ?? 0;
  const sheets = await readPrices(reader, vaultId);
  return [
    ...Array.from(months, ([month, items]) => monthDocument(month, { day, months: items })),
    ...(sheets.length === 0 ? [] : [pricesDocument(sheets)]),
  ];
}

/**
 * The vault's rows become what its documents say. What points own is in none: the catalogue's own reading of the same day
 * is kept, else it is left to the next one.
 */
export async function takeOverCharges(
  change: CatalogueChange,
  vaultId: string,
  documents: readonly { readonly id: string; readonly value: unknown }[],
): Promise<void> {
  const readings = change.selectFrom('chargeReadings').select('day').where('vaultId', '=', vaultId);
  const known = await readings.executeTakeFirst();
  const months = documents
    .filter(({ id }) => id.startsWith(MONTH_PREFIX))
    .map(({ id, value }) => ({ id, ...MONTH_DOCUMENT.parse(value) }));
  const through = months.length === 0 ? undefined : Math.max(...months.map((one) => one.through));
  await deleteRows(change, vaultId, MONEY);
  if (known?.day !== through) await deleteRows(change, vaultId, READINGS);
  for (const { id, items } of months) {
    for (const { days, points, ...item } of items) {
      await putMonth(change, vaultId, { item, month: id.slice(MONTH_PREFIX.length), days, points });
    }
  }
  if (through !== undefined && known?.day !== through) {
    await change
      .insertInto('chargeReadings')
      .values({ vaultId, day: through, sizes: null })
      .execute();
  }
  const prices = documents.find(({ id }) => id === PRICES);
  if (prices !== undefined)
    await putPrices(change, vaultId, PRICES_DOCUMENT.parse(prices.value).sheets);
}

const MONEY = ['chargeMonths', 'priceSheets'] as const;
const READINGS = ['chargedPoints', 'chargeReadings'] as const;

export async function deleteChargeRows(change: CatalogueChange, vaultId: string): Promise<void> {
  await deleteRows(change, vaultId, [...MONEY, ...READINGS]);
}

async function deleteRows(
  change: CatalogueChange,
  vaultId: string,
  tables: readonly (typeof MONEY | typeof READINGS)[number][],
): Promise<void> {
  for (const table of tables)
    await change.deleteFrom(table).where('vaultId', '=', vaultId).execute();
}

export async function putMonth(
  change: CatalogueChange,
  vaultId: string,
  { item, month, days, points }: StoredMonth,
): Promise<void> {
  const { id: itemId, vmGroup, vmName } = item;
  const told = { vmGroup, vmName, days: JSON.stringify(days), points: JSON.stringify(points) };
  await change
    .insertInto('chargeMonths')
    .values({ vaultId, month, itemId, ...told })
    .onConflict((known) => known.columns(['vaultId', 'month', 'itemId']).doUpdateSet(told))
    .execute();
}

export async function putPrices(
  change: CatalogueChange,
  vaultId: string,
  sheets: readonly PricedFrom[],
): Promise<void> {
  await change.deleteFrom('priceSheets').where('vaultId', '=', vaultId).execute();
  for (const { month, sheet } of sheets) {
    const row = { vaultId, month, sheet: JSON.stringify(sheet) };
    await change.insertInto('priceSheets').values(row).execute();
  }
}

/** By VM, of all items that had data in it. @param itemId only that one. */
export async function readMonth(
  reader: CatalogueReader,
  of: { readonly vaultId: string; readonly month: string; readonly itemId?: string },
): Promise<readonly StoredMonth[]> {
  return (await monthRows(reader, of).selectAll().execute()).map(monthOfRow);
}

/** As `readMonth`, without the points. */
export async function readMonthDays(
  reader: CatalogueReader,
  of: Parameters<typeof readMonth>[1],
): Promise<readonly Omit<StoredMonth, 'points'>[]> {
  const rows = monthRows(reader, of).select(['itemId', 'vmGroup', 'vmName', 'month', 'days']);
  return (await rows.execute()).map(daysOfRow);
}

function monthRows(
  reader: CatalogueReader,
  { vaultId, month, itemId }: Parameters<typeof readMonth>[1],
) {
  const query = reader.selectFrom('chargeMonths').where('vaultId', '=', vaultId);
  const rows = query.where('month', '=', month).orderBy('vmName').orderBy('vmGroup');
  return (itemId === undefined ? rows : rows.where('itemId', '=', itemId)).orderBy('itemId');
}

function monthOfRow(row: Row<'chargeMonths'>): StoredMonth {
  return { ...daysOfRow(row), points: CHARGE_RUNS.parse(JSON.parse(row.points)) };
}

function daysOfRow({
  itemId,
  vmGroup,
  vmName,
  month,
  days,
}: Omit<Row<'chargeMonths'>, 'vaultId' | 'points'>): Omit<StoredMonth, 'points'> {
  const item = { id: itemId, vmGroup, vmName };
  return { item, month, days: CHARGE_DAYS.parse(JSON.parse(days)) };
}

/** Oldest first. */
export async function readPrices(
  reader: CatalogueReader,
  vaultId: string,
): Promise<readonly PricedFrom[]> {
  const query = reader.selectFrom('priceSheets').selectAll().where('vaultId', '=', vaultId);
  const rows = await query.orderBy('month').execute();
  return rows.map(({ month, sheet }) => ({ month, sheet: PRICE_SHEET.parse(JSON.parse(sheet)) }));
}

/** @param sheets oldest first. */
export function priceIn(sheets: readonly PricedFrom[], month: string): PriceSheet | undefined {
  return sheets.findLast((one) => one.month <= month)?.sheet;
}

export function emptyMonth(item: ChargedItem, month: string): StoredMonth {
  return { item, month, ...EMPTY_MONTH };
}
