/** Prices of a vault, and what quantities cost by them. Pure. Amounts are whole millionths of the currency. */
import { z } from 'zod';
import { HoldfastError } from '#base';
import { GB, type InstanceUnits } from './instance-size.ts';

const PRICE_LIMIT = 1_000_000;
const PRICE = z
  .number('write a price as a number')
  .min(0, 'a price is not negative')
  .max(PRICE_LIMIT, `a price is at most ${PRICE_LIMIT}`);
const REDUNDANCIES = z.strictObject({
  LocallyRedundant: PRICE.optional(),
  ZoneRedundant: PRICE.optional(),
  GeoRedundant: PRICE.optional(),
});

export const PRICE_SHEET = z.strictObject({
  /** Of ISO 4217. */
  currency: z
    .string('write a currency, as EUR')
    .regex(/^[A-Z]{3}$/, 'write three capital letters, as EUR'),
  /** Of a protected instance and month: one of up to 50 GB, and each 500 GB of a larger one. */
  instance: z.strictObject({ small: PRICE, standard: PRICE }),
  /** Of a GB-month, by tier. */
  storage: z.strictObject({
    vault: REDUNDANCIES,
    snapshot: REDUNDANCIES.optional(),
    archive: REDUNDANCIES.optional(),
  }),
});

export type PriceSheet = Readonly<z.infer<typeof PRICE_SHEET>>;

const MILLION = 1_000_000;

/** @throws {HoldfastError} `PriceSheetInvalid` */
export function parsePriceSheet(value: unknown): PriceSheet {
  const parsed = PRICE_SHEET.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new HoldfastError(
    'PriceSheetInvalid',
    `the price sheet cannot be used: ${issue!.path.join('.') || 'it'}: ${issue!.message}`,
  );
}

/** Instances over days of one month, as sums of units × days. */
export function instanceCost(
  { instance }: PriceSheet,
  unitDays: InstanceUnits,
  daysInMonth: number,
): number {
  const months = unitDays.small * instance.small + unitDays.standard * instance.standard;
  return Math.round((months * MILLION) / daysInMonth);
}

/** What is in the vault tier, by the redundancy that there is. @param byteDays bytes × days. */
export function storageCost(
  { storage }: PriceSheet,
  byteDays: number,
  daysInMonth: number,
): number {
  const price = storage.vault.LocallyRedundant ?? 0;
  return Math.round((byteDays / GB / daysInMonth) * price * MILLION);
}

/** Parts of a cost by their weights, in their order; they add up to it. */
export function splitCost(cost: number, weights: readonly number[]): readonly number[] {
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  let weight = 0;
  let told = 0;
  return weights.map((own) => {
    weight += own;
    const until = all === 0 ? 0 : Math.round((cost * weight) / all);
    const part = until - told;
    told = until;
    return part;
  });
}
