/** Holdfast.Backup/vaults/…/charges: what is charged for by VM, point and month, by which prices, and what will be. */
import { z } from 'zod';
import {
  forecastItem,
  freedByPoints,
  itemCharges,
  listItems,
  listPrices,
  PRICE_SHEET,
  putPriceSheet,
  vaultCharges,
  type ItemName,
  type VaultName,
} from '#service';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, vaultOf, type ApiRequest, type Site } from '../frame/route.ts';
import { itemName, unknownItem } from '../items/item-names.ts';
import {
  amount,
  chargeNames,
  chargesToWire,
  costsToWire,
  ITEM_CHARGES,
  MONTH,
  wantedMonth,
} from './charges-wire.ts';
import { OWN_VAULT } from './own-vault.ts';

const CHARGES = `${OWN_VAULT}/charges` as const;
const ITEM = `${CHARGES}/{item}` as const;
const PRICES = `${OWN_VAULT}/priceSheets` as const;

const COST = z.number().optional();
const CURRENCY = z.string().optional();
const PRICED = z.object({ name: MONTH, properties: PRICE_SHEET });

const SUMMARY = z.object({
  month: MONTH,
  currency: CURRENCY,
  cost: COST,
  protectedInstances: z.object({ count: z.int(), cost: COST }),
  storage: z.object({ gbMonths: z.number(), cost: COST }),
  estimatedDays: z.int(),
  /** Of the newest reading, whatever the month; absent: there was none. */
  repository: z
    .object({
      readAt: z.string(),
      /** Owned by points of protected VMs: what is charged for. */
      ownedInBytes: z.int(),
      /** Needed only by points of `holdfast repo`. */
      othersInBytes: z.int().optional(),
      /** What no point needs any more, until compaction. */
      deadInBytes: z.int().optional(),
      overheadInBytes: z.int().optional(),
      storedInBytes: z.int().optional(),
    })
    .optional(),
});

const FREED = z.object({
  currency: CURRENCY,
  value: z.array(
    z.object({
      name: z.string(),
      time: z.string(),
      /** At the newest reading. */
      ownedInBytes: z.int().optional(),
      freedIfExpired: z.int(),
      savedByMonth: COST,
    }),
  ),
});

const FORECAST = z.object({
  storedInBytes: z.int(),
  sizeInBytes: z.int(),
  churnInBytes: z.number(),
  assumptions: z.array(z.string()),
  value: z.array(
    z.object({
      month: MONTH,
      points: z.int(),
      storedInBytes: z.int(),
      currency: CURRENCY,
      cost: COST,
    }),
  ),
});

export const chargeRoutes = [
  route({
    method: 'GET',
    path: CHARGES,
    summary: "Lists what is charged for by VM; $filter: month eq '2026-11', else the present one",
    answer: z.object({ value: z.array(ITEM_CHARGES), nextLink: z.string().optional() }),
    handle: async (request) => {
      const { service, params } = request;
      const vault = vaultOf(params);
      const { items } = await vaultCharges(service.catalogue.read, vault, wantedMonth(request));
      const nameOf = await chargeNames(request, vault);
      return listAnswer(
        request,
        items.map((charges) => chargesToWire(request, { vault, charges, nameOf })),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${OWN_VAULT}/chargeSummary`,
    summary: 'Adds up what is charged for in a month, and tells whose the stored bytes are',
    answer: SUMMARY,
    handle: async (request) => ok(await summary(request, vaultOf(request.params))),
  }),
  route({
    method: 'GET',
    path: ITEM,
    summary: 'Shows what is charged for of one VM in a month, with its recovery points',
    answer: ITEM_CHARGES,
    handle: async (request) => {
      const { service, params } = request;
      const vault = vaultOf(params);
      const itemId = (await findItem(request, vault, params.item))?.id ?? params.item;
      const of = { vault, itemId };
      const charges = await itemCharges(service.catalogue.read, of, wantedMonth(request));
      const nameOf = await chargeNames(request, vault);
      return ok(chargesToWire(request, { vault, charges, nameOf }));
    },
  }),
  route({
    method: 'GET',
    path: `${ITEM}/points`,
    summary: 'Tells what each recovery point of a VM owns, and what its end would free and save',
    answer: FREED,
    handle: async (request) => {
      const name = await itemNamed(request, vaultOf(request.params), request.params.item);
      const { currency, points } = await freedByPoints(request.service, name);
      const value = points.map(({ id, takenAt, ownedBytes, freedIfExpired, savedByMonth }) => ({
        name: id,
        time: new Date(takenAt).toISOString(),
        ...(ownedBytes === undefined ? {} : { ownedInBytes: ownedBytes }),
        freedIfExpired,
        ...(savedByMonth === undefined ? {} : { savedByMonth: amount(savedByMonth).cost }),
      }));
      return ok({ ...(currency === undefined ? {} : { currency }), value });
    },
  }),
  route({
    method: 'GET',
    path: `${ITEM}/forecast`,
    summary: 'Tells what a VM will store and cost in the next twelve months, if all goes on as now',
    answer: FORECAST,
    handle: async (request) => {
      const name = await itemNamed(request, vaultOf(request.params), request.params.item);
      const { storedBytes, instanceBytes, churn, assumptions, months } = await forecastItem(
        request.service,
        name,
      );
      const value = months.map(({ month, points, storedBytes: storedInBytes, costs }) => ({
        month,
        points,
        storedInBytes,
        ...costsToWire(costs),
      }));
      return ok({
        storedInBytes: storedBytes,
        sizeInBytes: instanceBytes,
        churnInBytes: churn.churnBytes,
        assumptions,
        value,
      });
    },
  }),
  route({
    method: 'GET',
    path: PRICES,
    summary: 'Lists the price sheets of a vault: each is valid from the month that names it',
    answer: z.object({ value: z.array(PRICED) }),
    handle: async ({ service, params }) => ok(toWire(await listPrices(service, vaultOf(params)))),
  }),
  route({
    method: 'PUT',
    path: `${PRICES}/{month}`,
    summary: 'Prices a month and those after it, until one with a sheet of its own',
    body: z.strictObject({ properties: PRICE_SHEET }),
    answer: z.object({ value: z.array(PRICED) }),
    handle: async ({ service, params, body }) => {
      const wanted = { month: params.month, sheet: body.properties };
      return ok(toWire(await putPriceSheet(service, vaultOf(params), wanted)));
    },
  }),
  route({
    method: 'DELETE',
    path: `${PRICES}/{month}`,
    summary: 'Removes the price sheet of a month: the one before it is valid again',
    answer: z.object({ value: z.array(PRICED) }),
    handle: async ({ service, params }) => {
      const wanted = { month: params.month, sheet: undefined };
      return ok(toWire(await putPriceSheet(service, vaultOf(params), wanted)));
    },
  }),
];

async function summary(
  request: Pick<ApiRequest<unknown, unknown>, 'service' | 'query'>,
  vault: VaultName,
): Promise<z.infer<typeof SUMMARY>> {
  const { read } = request.service.catalogue;
  const { month, daysInMonth, items, costs, newest } = await vaultCharges(
    read,
    vault,
    wantedMonth(request),
  );
  const byteDays = items.reduce((sum, one) => sum + one.byteDays, 0);
  const sizes = newest?.sizes;
  return {
    month,
    ...costsToWire(costs),
    protectedInstances: { count: items.length, ...amount(costs?.instance) },
    storage: { gbMonths: byteDays / 2 ** 30 / daysInMonth, ...amount(costs?.storage) },
    estimatedDays: items.reduce((sum, one) => sum + one.estimatedDays, 0),
    ...(newest === undefined
      ? {}
      : {
          repository: {
            readAt: new Date(newest.at).toISOString(),
            ownedInBytes: newest.ownedBytes,
            ...(sizes === undefined
              ? {}
              : {
                  othersInBytes: sizes.liveBytes - newest.ownedBytes,
                  deadInBytes: sizes.deadBytes,
                  overheadInBytes: sizes.overheadBytes,
                  storedInBytes: sizes.storedBytes,
                }),
          },
        }),
  };
}

function toWire(sheets: Awaited<ReturnType<typeof listPrices>>) {
  return { value: sheets.map(({ month: name, sheet: properties }) => ({ name, properties })) };
}

/** By its name in the list. */
async function findItem({ service }: Site, vault: VaultName, name: string) {
  const items = await listItems(service.catalogue.read, vault);
  return items.find(
    ({ vmGroup, vmName }) =>
      itemName({ group: vmGroup, name: vmName }).toLowerCase() === name.toLowerCase(),
  );
}

/** @throws {HoldfastError} `BMSUserErrorProtectedItemNotFound` */
async function itemNamed(site: Site, vault: VaultName, name: string): Promise<ItemName> {
  const item = await findItem(site, vault, name);
  if (item === undefined) throw unknownItem(name);
  return { vault, vm: { group: item.vmGroup, name: item.vmName } };
}
