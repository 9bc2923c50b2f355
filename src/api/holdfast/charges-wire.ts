/** What is charged for, as JSON: amounts in the currency, storage in GB-months of 2^30 bytes. */
import { z } from 'zod';
import {
  listItems,
  type Costs,
  type ItemCharges,
  type ItemChargesByPoint,
  type VaultName,
} from '#service';
import { parseFilter } from '../frame/filter.ts';
import type { ApiRequest, Site } from '../frame/route.ts';
import { itemName } from '../items/item-names.ts';
import { resourceId, vmId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/vaults/charges';
const GB = 2 ** 30;
const MILLION = 1_000_000;

const MONTHS = /^\d{4}-\d\d$/;
export const MONTH = z.string().regex(MONTHS);

/** In the currency, to the millionth. */
const COST = z.number().optional();
const COSTS = { currency: z.string().optional(), cost: COST };
const UNITS = z.object({ small: z.number(), standard: z.number() });

export const ITEM_CHARGES = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  properties: z.object({
    month: MONTH,
    friendlyName: z.string(),
    sourceResourceId: z.string(),
    /** Its data is gone; what was charged before stays. */
    isDeleted: z.boolean(),
    daysInMonth: z.int(),
    chargedDays: z.int(),
    /** In the last 14 days of soft delete. */
    freeDays: z.int(),
    /** Of both, those that nobody could read: as the day before them. */
    estimatedDays: z.int(),
    protectedInstance: z.object({
      /** At the newest day. */
      sizeInBytes: z.int(),
      /** Instances × months: of up to 50 GB, and of each 500 GB above that. */
      instanceMonths: UNITS,
      cost: COST,
    }),
    storage: z.object({
      /** At the newest day. */
      storedInBytes: z.int(),
      gbMonths: z.number(),
      cost: COST,
    }),
    ...COSTS,
    /** Of one VM only: their parts add up to the storage. */
    points: z.array(z.object({ name: z.string(), gbMonths: z.number(), cost: COST })).optional(),
  }),
});

/** `2026-11` */
export function monthOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 7);
}

/** Of `$filter=month eq '2026-11'`; else the present one. */
export function wantedMonth({
  query,
  service,
}: Pick<ApiRequest<unknown, unknown>, 'query' | 'service'>): string {
  return (
    parseFilter(query.get('$filter'), ['month']).get('month') ?? monthOf(service.clock.nowMs())
  );
}

/** What charges of items are called: `VM;iaasvmcontainerv2;<group>;<vm>`, of one that is gone its id. */
export type ChargeNames = (charges: Pick<ItemCharges, 'item'>) => string;

export async function chargeNames({ service }: Site, vault: VaultName): Promise<ChargeNames> {
  const items = await listItems(service.catalogue.read, vault);
  const there = new Set(items.map(({ id }) => id));
  return ({ item }) =>
    there.has(item.id) ? itemName({ group: item.vmGroup, name: item.vmName }) : item.id;
}

export function chargesToWire(
  site: Site,
  of: {
    readonly vault: VaultName;
    readonly charges: ItemCharges & Partial<Pick<ItemChargesByPoint, 'points'>>;
    readonly nameOf: ChargeNames;
  },
): z.infer<typeof ITEM_CHARGES> {
  const { vault, charges, nameOf } = of;
  const { item, month, daysInMonth, chargedDays, freeDays, estimatedDays, last, costs } = charges;
  const name = nameOf(charges);
  const at = resourceId(site, { ...vault, type: 'Holdfast.Backup/vaults' });
  const { small, standard } = charges.unitDays;
  const gbMonths = (byteDays: number): number => byteDays / GB / daysInMonth;
  return {
    id: `${at}/charges/${name}`,
    name,
    type: TYPE,
    properties: {
      month,
      friendlyName: item.vmName,
      sourceResourceId: vmId(site, { group: item.vmGroup, name: item.vmName }),
      isDeleted: name === item.id,
      daysInMonth,
      chargedDays,
      freeDays,
      estimatedDays,
      protectedInstance: {
        sizeInBytes: last?.instanceBytes ?? 0,
        instanceMonths: { small: small / daysInMonth, standard: standard / daysInMonth },
        ...amount(costs?.instance),
      },
      storage: {
        storedInBytes: last?.storedBytes ?? 0,
        gbMonths: gbMonths(charges.byteDays),
        ...amount(costs?.storage),
      },
      ...costsToWire(costs),
      ...(charges.points === undefined
        ? {}
        : {
            points: charges.points.map(({ id, byteDays, cost }) => ({
              name: id,
              gbMonths: gbMonths(byteDays),
              ...amount(cost),
            })),
          }),
    },
  };
}

/** Instance and storage together. */
export function costsToWire(costs: Costs | undefined): {
  readonly currency?: string;
  readonly cost?: number;
} {
  if (costs === undefined) return {};
  return { currency: costs.currency, ...amount(costs.instance + costs.storage) };
}

/** @param millionths undefined: there are no prices. */
export function amount(millionths: number | undefined): { readonly cost?: number } {
  return millionths === undefined ? {} : { cost: millionths / MILLION };
}
