/** The next twelve months of an item: what it will store and cost, and by which assumptions. */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { getItem, type ItemName } from '../items/items.ts';
import { runningPolicy } from '../consistency-groups/running-policy.ts';
import { policyOfItem } from '../points/planned-points.ts';
import { listPoints, type Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import { priceIn, readMonthDays, readPrices } from './charge-rows.ts';
import { forecastStorage, type Churn, type ForecastMonth } from './forecast.ts';
import { instanceUnits, type InstanceUnits } from './instance-size.ts';
import { keptPoints } from './kept-points.ts';
import { instanceCost, storageCost } from './price-sheet.ts';
import type { Costs } from './charges.ts';
import { DAY_MS, dayOf, daysIn, firstDayOf, monthOf } from './utc-days.ts';

export type ItemForecast = {
  /** At the newest reading. */
  readonly storedBytes: number;
  readonly instanceBytes: number;
  readonly units: InstanceUnits;
  readonly churn: Churn;
  /** Sentences. */
  readonly assumptions: readonly string[];
  readonly months: readonly (ForecastMonth & { readonly costs: Costs | undefined })[];
};

const MONTHS = 12;
/** The present churn is the mean of so many increments. */
const INCREMENTS = 14;

const UNREAD = 'No day has been read yet: what is stored is taken from what the backups said.';

/** @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`. */
export async function forecastItem(
  { catalogue, clock, settings }: Pick<ServiceParts, 'catalogue' | 'clock' | 'settings'>,
  name: ItemName,
): Promise<ItemForecast> {
  const { read } = catalogue;
  const nowMs = clock.nowMs();
  const item = await getItem(read, name);
  const points = (await listPoints(read, item.id)).toReversed();
  const policy = await policyOfItem(read, item);
  const { kept, runs } = keptPoints({
    item: { state: item.state, policy },
    running: policy === undefined ? undefined : await runningPolicy(read, item, policy),
    points,
    purgeAt: item.purgeAt,
    nowMs,
    untilMs: nowMs + (MONTHS + 2) * 31 * DAY_MS,
    schedule: { dstFollowsAzure: settings.dstFollowsAzure },
  });
  const measured = await presentOf(read, { vaultId: item.vaultId, itemId: item.id, nowMs });
  const found = measured ?? presentByPoints(points);
  const churn = churnOf(points, { fullBytes: found.fullBytes, runs: runs.map(({ atMs }) => atMs) });
  const storage = forecastStorage({
    nowMs,
    storedBytes: found.storedBytes,
    churn,
    kept,
    months: MONTHS,
  });
  const prices = await readPrices(read, item.vaultId);
  const units = instanceUnits(found.instanceBytes);
  const months = storage.map((one) => {
    const sheet = priceIn(prices, one.month);
    return { ...one, costs: sheet && costsOf(sheet, one, units) };
  });
  const { storedBytes, instanceBytes } = found;
  return {
    storedBytes,
    instanceBytes,
    units,
    churn,
    assumptions: [
      ...(measured === undefined ? [UNREAD] : []),
      ...assumptionsOf(churn, { runs: runs.length, increments: Math.max(0, points.length - 1) }),
    ],
    months,
  };
}

/** For a whole month as it is at its end. */
function costsOf(
  sheet: Parameters<typeof storageCost>[0],
  { month, points, storedBytes }: ForecastMonth,
  units: InstanceUnits,
): Costs {
  const days = daysIn(month);
  const count = points === 0 ? 0 : days;
  const unitDays = { small: units.small * count, standard: units.standard * count };
  return {
    currency: sheet.currency,
    instance: instanceCost(sheet, unitDays, days),
    storage: storageCost(sheet, storedBytes * count, days),
  };
}

type Present = {
  readonly storedBytes: number;
  readonly instanceBytes: number;
  /** What the oldest point owns: a whole copy of the VM's data. */
  readonly fullBytes: number;
};

async function presentOf(
  reader: CatalogueReader,
  of: { readonly vaultId: string; readonly itemId: string; readonly nowMs: number },
): Promise<Present | undefined> {
  const owned = await reader
    .selectFrom('chargedPoints')
    .innerJoin('points', (join) =>
      join.onRef('points.itemId', '=', 'chargedPoints.itemId').onRef('points.id', '=', 'pointId'),
    )
    .select('ownedBytes')
    .where('chargedPoints.itemId', '=', of.itemId)
    .orderBy('points.takenAt')
    .execute();
  if (owned.length === 0) return undefined;
  const storedBytes = owned.reduce((sum, { ownedBytes }) => sum + ownedBytes, 0);
  const today = dayOf(of.nowMs);
  let instanceBytes = 0;
  // Its newest day is in this month, or on the last of the one before.
  for (const month of new Set([monthOf(firstDayOf(monthOf(today)) - 1), monthOf(today)])) {
    const { vaultId, itemId } = of;
    const [stored] = await readMonthDays(reader, { vaultId, month, itemId });
    const last = stored?.days.at(-1);
    instanceBytes = last?.instanceBytes ?? instanceBytes;
  }
  return { storedBytes, instanceBytes, fullBytes: owned[0]?.ownedBytes ?? 0 };
}

/** Before the first reading: as the backups said. @param points oldest first. */
function presentByPoints(points: readonly Point[]): Present {
  const storedBytes = points.reduce((sum, point) => sum + storedBytesOf(point), 0);
  const [first] = points;
  if (first === undefined) return { storedBytes, instanceBytes: 0, fullBytes: 0 };
  const instanceBytes = first.facts.disks.reduce((sum, { changedBytes }) => sum + changedBytes, 0);
  return { storedBytes, instanceBytes, fullBytes: storedBytesOf(first) };
}

/** @param points oldest first. */
function churnOf(
  points: readonly Point[],
  of: { readonly fullBytes: number; readonly runs: readonly number[] },
): Churn {
  // The oldest may be the first backup of all, which is no increment.
  const increments = points.slice(1).slice(-INCREMENTS).map(storedBytesOf);
  const sum = increments.reduce((all, bytes) => all + bytes, 0);
  const churnBytes = increments.length === 0 ? 0 : Math.round(sum / increments.length);
  const { runs } = of;
  const intervalMs = runs.length < 2 ? DAY_MS : (runs.at(-1)! - runs[0]!) / (runs.length - 1);
  return { churnBytes, usedBytes: Math.max(of.fullBytes, churnBytes), intervalMs };
}

function storedBytesOf({ facts }: Point): number {
  return facts.disks.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
}

function assumptionsOf(
  { churnBytes }: Churn,
  counts: { readonly runs: number; readonly increments: number },
): readonly string[] {
  const goesOn =
    counts.runs === 0
      ? 'No backups come: protection is stopped, or no policy is given.'
      : churnBytes === 0
        ? counts.increments === 0
          ? 'There is no increment yet to tell the churn by: nothing changes.'
          : `The newest increments (${Math.min(counts.increments, INCREMENTS)}) stored nothing: nothing changes.`
        : `Every backup stores as much as the newest ${INCREMENTS} did on average, or as many as there are.`;
  return [
    goesOn,
    'Changes hit any of the data alike; what a kept point overwrites is stored once more, what none keeps is not.',
    'The data of the VM does not grow, and no policy, price or protection is changed.',
    'A month is priced by what is stored at its end.',
  ];
}
