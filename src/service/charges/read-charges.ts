/**
 * The daily reading (decision 0012): when a day of UTC has ended, each vault is measured, and the day added to the
 * months of its items, in its documents and in the catalogue.
 *
 * ```
 *   last day read        today                 a day that nobody read: as the reading before it, estimated
 *        │ missed missed   │ now
 *   ─────●───?──────?──────●──►                clock set back: days that have not ended are taken back
 * ```
 */
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { itemOf } from '../items/items.ts';
import { policyOfItem } from '../points/planned-points.ts';
import { retainedOf } from '../points/points.ts';
import { changeVault, type VaultChange, type VaultDocument } from '../repositories/change-vault.ts';
import { planRetention, type RetainedItem, type RetainedPoint } from '../retention/plan.ts';
import type { ServiceParts } from '../service-parts.ts';
import { listVaults, type Vault } from '../vaults/vaults.ts';
import { beforeDate, withDay, type DayReading } from './charge-month.ts';
import {
  emptyMonth,
  monthDocument,
  putMonth,
  readMonth,
  readMonthDays,
  type ChargedItem,
  type StoredMonth,
} from './charge-rows.ts';
import { isCharged, isInFreeDays } from './is-charged.ts';
import { measureVault, type ItemToMeasure, type Measurement } from './measure-vault.ts';
import { dateOf, dayOf, endOfDay, monthOf } from './utc-days.ts';

/** Reads what is due of every vault; one that cannot be read is told, and read at the next look. */
export async function readCharges(parts: ServiceParts): Promise<void> {
  for (const vault of await listVaults(parts.catalogue.read)) {
    // Told where it is tried again.
    if (parts.reach.all().has(vault.id)) continue;
    await readOrTell(parts, vault);
  }
}

/**
 * For whoever is about to remove points of a vault, before its turn: reads the days that have ended and that nobody has
 * read, so that they are charged as they were. If that fails it is told, and the points go all the same.
 */
export async function readChargesBefore(parts: ServiceParts, vaultId: string): Promise<void> {
  const vault = (await listVaults(parts.catalogue.read)).find(({ id }) => id === vaultId);
  if (vault !== undefined) await readOrTell(parts, vault);
}

/** One reading of a vault at a time: who comes meanwhile finds it done. */
async function readOrTell(parts: ServiceParts, vault: Vault): Promise<void> {
  try {
    await parts.turns(`charges ${vault.id}`, async () => await readVault(parts, vault));
  } catch (error) {
    parts.log.warn({ vault: vault.name, error: String(error) }, 'what a vault stores was not read');
  }
}

async function readVault(parts: ServiceParts, vault: Vault): Promise<void> {
  const lastRead = await lastDayRead(parts, vault);
  const ended = dayOf(parts.clock.nowMs()) - 1;
  if (lastRead > ended) return await takeBack(parts, vault, ended);
  if (lastRead === ended) return;
  const before = await readingBefore(parts, vault, lastRead);
  const items = await itemsOf(parts, vault.id, ended);
  const measured = await measureVault(parts, { vaultId: vault.id, items, known: before.used });
  await changeVault(parts, vault.id, async () => {
    // Another look may have read it meanwhile.
    if ((await lastDayRead(parts, vault)) !== lastRead) return NO_CHANGE;
    return planDays(await monthsFrom(parts, vault.id, lastRead + 1), {
      vaultId: vault.id,
      days: { from: lastRead + 1, to: ended },
      items,
      before,
      measured,
    });
  });
}

const NO_CHANGE: VaultChange<void> = { documents: [], apply: async () => undefined };

async function lastDayRead({ catalogue }: ServiceParts, { id, createdAt }: Vault): Promise<number> {
  const query = catalogue.read.selectFrom('chargeReadings').select('day');
  const row = await query.where('vaultId', '=', id).executeTakeFirst();
  return row?.day ?? dayOf(createdAt) - 1;
}

type ItemBefore = {
  readonly instanceBytes: number;
  /** By point. */
  readonly owned: ReadonlyMap<string, number>;
};

/** What the last reading found. */
type ReadingBefore = {
  readonly items: ReadonlyMap<string, ItemBefore>;
  /** By point and disk. */
  readonly used: ReadonlyMap<string, ReadonlyMap<string, number>>;
};

async function readingBefore(
  { catalogue }: ServiceParts,
  { id }: Vault,
  lastRead: number,
): Promise<ReadingBefore> {
  const { read } = catalogue;
  const query = read.selectFrom('chargedPoints').selectAll().where('vaultId', '=', id);
  const points = Map.groupBy(await query.execute(), ({ itemId }) => itemId);
  const items = new Map<string, ItemBefore>();
  for (const { item, days } of await readMonthDays(read, {
    vaultId: id,
    month: monthOf(lastRead),
  })) {
    const day = days.find(({ date }) => date === dateOf(lastRead));
    const owned = points.get(item.id);
    if (day === undefined || owned === undefined) continue;
    const byPoint = new Map(owned.map(({ pointId, ownedBytes }) => [pointId, ownedBytes]));
    items.set(item.id, { instanceBytes: day.instanceBytes, owned: byPoint });
  }
  const used = new Map<string, ReadonlyMap<string, number>>();
  for (const { pointId, usedBytes } of [...points.values()].flat()) {
    if (usedBytes === null) continue;
    const byDisk = JSON.parse(usedBytes) as Readonly<Record<string, number>>;
    used.set(pointId, new Map(Object.entries(byDisk)));
  }
  return { items, used };
}

type ItemToRead = ItemToMeasure & {
  readonly charged: ChargedItem;
  readonly deletion: Pick<Row<'items'>, 'deletedAt' | 'purgeAt'>;
  readonly retainedItem: RetainedItem;
  readonly retained: readonly RetainedPoint[];
};

/** Items with their points of up to the end of the day, oldest first. */
async function itemsOf(
  { catalogue }: ServiceParts,
  vaultId: string,
  day: number,
): Promise<readonly ItemToRead[]> {
  const { read: reader } = catalogue;
  const items = await reader
    .selectFrom('items')
    .selectAll()
    .where('vaultId', '=', vaultId)
    .execute();
  const rows = await reader
    .selectFrom('points')
    .innerJoin('items', 'items.id', 'points.itemId')
    .selectAll('points')
    .where('items.vaultId', '=', vaultId)
    .where('points.takenAt', '<', endOfDay(day))
    .orderBy('points.takenAt')
    .orderBy('points.id')
    .execute();
  const points = Map.groupBy(rows, ({ itemId }) => itemId);
  const read = items.map(async (row): Promise<ItemToRead> => {
    const { id, vmGroup, vmName, deletedAt, purgeAt } = row;
    const own = points.get(id) ?? [];
    return {
      id,
      charged: { id, vmGroup, vmName },
      deletion: { deletedAt, purgeAt },
      points: own.map((point) => ({ id: point.id, consistency: point.consistency })),
      retainedItem: { state: itemOf(row).state, policy: await policyOfItem(reader, row) },
      retained: own.map(retainedOf),
    };
  });
  return await Promise.all(read);
}

type Due = {
  readonly vaultId: string;
  /** Both included. */
  readonly days: { readonly from: number; readonly to: number };
  readonly items: readonly ItemToRead[];
  readonly before: ReadingBefore;
  readonly measured: Measurement;
};

/** The vault's months from that of a day on, by month, then by item. */
type Months = Map<string, Map<string, StoredMonth>>;

async function monthsFrom(
  { catalogue }: ServiceParts,
  vaultId: string,
  day: number,
): Promise<Months> {
  const query = catalogue.read.selectFrom('chargeMonths').select('month').distinct();
  const rows = query.where('vaultId', '=', vaultId).where('month', '>=', monthOf(day));
  const months: Months = new Map();
  for (const { month } of await rows.execute()) {
    const stored = await readMonth(catalogue.read, { vaultId, month });
    months.set(month, new Map(stored.map((one) => [one.item.id, one])));
  }
  return months;
}

function planDays(months: Months, due: Due): VaultChange<void> {
  const { vaultId, days, items, measured } = due;
  for (let day = days.from; day <= days.to; day += 1) {
    const month = monthOf(day);
    const ofMonth = months.get(month) ?? new Map<string, StoredMonth>();
    months.set(month, ofMonth);
    for (const item of items) {
      const reading = readingOf(item, day, due);
      if (reading === undefined) continue;
      const known = ofMonth.get(item.id) ?? emptyMonth(item.charged, month);
      ofMonth.set(item.id, { ...known, ...withDay(known, reading), item: item.charged });
    }
  }
  return {
    documents: documentsOf(months, days.to),
    apply: async (change) => {
      await putMonths(change, vaultId, months);
      await putReading(change, { vaultId, day: days.to, measured });
    },
  };
}

/** Undefined: it had no data at the end of that day. */
function readingOf(
  item: ItemToRead,
  day: number,
  { days, before, measured }: Due,
): DayReading | undefined {
  const isMissed = day < days.to;
  const then = (isMissed ? before.items.get(item.id) : undefined) ?? measured.items.get(item.id);
  if (then === undefined) return undefined;
  const endMs = endOfDay(day);
  const takenAt = new Map(item.retained.map((point) => [point.id, point.takenAt]));
  const owned = new Map([...then.owned].filter(([id]) => (takenAt.get(id) ?? 0) < endMs));
  if (owned.size === 0) return undefined;
  return {
    day,
    owned,
    free: freePoints(item, endMs),
    instanceBytes: then.instanceBytes,
    isCharged: isCharged(item.deletion, endMs),
    isEstimated: isMissed,
  };
}

/** R24, R61: lost by a change of policy or deleted one by one, and near their end. */
function freePoints({ retainedItem, retained }: ItemToRead, atMs: number): ReadonlySet<string> {
  if (retained.every(({ retention }) => retention.lost === undefined)) return new Set();
  const deleted = planRetention(retainedItem, retained, atMs).filter(
    ({ softDeletedUntil: until }) => until !== undefined && isInFreeDays(until, atMs),
  );
  return new Set(deleted.map(({ id }) => id));
}

function documentsOf(months: Months, day: number): readonly VaultDocument[] {
  const filled = [...months].filter(([, items]) => items.size > 0);
  return filled.map(([month, items]) => monthDocument(month, { day, months: items.values() }));
}

async function putMonths(change: CatalogueChange, vaultId: string, months: Months): Promise<void> {
  for (const items of months.values()) {
    for (const month of items.values()) await putMonth(change, vaultId, month);
  }
}

async function putReading(
  change: CatalogueChange,
  of: { readonly vaultId: string; readonly day: number; readonly measured: Measurement },
): Promise<void> {
  const { vaultId, day, measured } = of;
  const told = { day, sizes: JSON.stringify(measured.sizes) };
  await change
    .insertInto('chargeReadings')
    .values({ vaultId, ...told })
    .onConflict((known) => known.column('vaultId').doUpdateSet(told))
    .execute();
  await putOwned(change, vaultId, measured);
}

/** Most points own what they owned the day before: only what differs is written. */
async function putOwned(
  change: CatalogueChange,
  vaultId: string,
  { items }: Measurement,
): Promise<void> {
  const query = change.selectFrom('chargedPoints').selectAll().where('vaultId', '=', vaultId);
  const gone = new Map((await query.execute()).map((row) => [`${row.itemId}/${row.pointId}`, row]));
  for (const [itemId, { owned, newest }] of items) {
    for (const [pointId, ownedBytes] of owned) {
      const usedBytes =
        pointId === newest.id ? JSON.stringify(Object.fromEntries(newest.usedBytes)) : null;
      const key = `${itemId}/${pointId}`;
      const known = gone.get(key);
      gone.delete(key);
      if (known?.ownedBytes === ownedBytes && known.usedBytes === usedBytes) continue;
      await change
        .insertInto('chargedPoints')
        .values({ vaultId, itemId, pointId, ownedBytes, usedBytes })
        .onConflict((one) =>
          one.columns(['itemId', 'pointId']).doUpdateSet({ ownedBytes, usedBytes }),
        )
        .execute();
    }
  }
  for (const { itemId, pointId } of gone.values()) {
    const row = change.deleteFrom('chargedPoints').where('itemId', '=', itemId);
    await row.where('pointId', '=', pointId).execute();
  }
}

/** Days after `ended` have not been: the clock was set back. */
async function takeBack(parts: ServiceParts, { id: vaultId }: Vault, ended: number): Promise<void> {
  await changeVault(parts, vaultId, async () => {
    const months = await monthsFrom(parts, vaultId, ended + 1);
    for (const [month, items] of months) {
      for (const [id, known] of items) {
        const date = month === monthOf(ended + 1) ? dateOf(ended + 1) : 1;
        items.set(id, { ...known, ...beforeDate(known, date) });
      }
    }
    return {
      documents: documentsOf(months, ended),
      apply: async (change) => {
        await putMonths(change, vaultId, months);
        const rows = change.deleteFrom('chargeMonths').where('vaultId', '=', vaultId);
        await rows.where('days', '=', '[]').execute();
        const reading = change.updateTable('chargeReadings').set({ day: ended });
        await reading.where('vaultId', '=', vaultId).execute();
      },
    };
  });
}
