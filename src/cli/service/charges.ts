/** `holdfast charges`: what is charged for, by VM, by point and by month; what will be; by which prices. */
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { whyUnread } from '../arguments/why-unread.ts';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import { fullName, isSame, namedBy, type Named } from './names.ts';
import { ServiceRefusal } from './refusal.ts';
import { findItem, findVault, listItems, listVaults, type ServiceItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export type ChargesOptions = {
  readonly month?: string;
  readonly forecast?: true;
  /** A JSON file. */
  readonly prices?: string;
};

type Cost = { readonly cost?: number };
type Priced = Cost & { readonly currency?: string };

type ItemCharges = Priced & {
  readonly month: string;
  readonly sourceResourceId: string;
  readonly isDeleted: boolean;
  readonly daysInMonth: number;
  readonly chargedDays: number;
  readonly freeDays: number;
  readonly estimatedDays: number;
  readonly protectedInstance: Cost & {
    readonly sizeInBytes: number;
    readonly instanceMonths: { readonly small: number; readonly standard: number };
  };
  readonly storage: Cost & { readonly storedInBytes: number; readonly gbMonths: number };
  readonly points?: readonly (Cost & { readonly name: string; readonly gbMonths: number })[];
};

type Summary = Priced & {
  readonly month: string;
  readonly protectedInstances: Cost & { readonly count: number };
  readonly storage: Cost & { readonly gbMonths: number };
  readonly estimatedDays: number;
  readonly repository?: {
    readonly readAt: string;
    readonly ownedInBytes: number;
    readonly othersInBytes?: number;
    readonly deadInBytes?: number;
    readonly overheadInBytes?: number;
  };
};

type Freed = {
  readonly currency?: string;
  readonly value: readonly {
    readonly name: string;
    readonly time: string;
    readonly ownedInBytes?: number;
    readonly freedIfExpired: number;
    readonly savedByMonth?: number;
  }[];
};

type Forecast = {
  readonly churnInBytes: number;
  readonly assumptions: readonly string[];
  readonly value: readonly (Priced & {
    readonly month: string;
    readonly points: number;
    readonly storedInBytes: number;
  })[];
};

/** @param name a VM or a vault; undefined: the only vault. */
export async function showCharges(
  context: ServiceContext,
  name: string | undefined,
  options: ChargesOptions,
): Promise<void> {
  const { service } = context;
  const now = new Date(service.clock.nowMs()).toISOString().slice(0, 7);
  const month = options.month ?? now;
  if (month > now && options.prices === undefined) {
    throw new UsageError(
      `--month ${month} is still to come, and nothing is charged in it yet: --forecast with a VM shows what will be`,
    );
  }
  const item = await itemNamed(service, name);
  if (item === undefined) {
    const vault = await findVault(service, name);
    if (options.forecast === true) {
      throw new UsageError('--forecast is about one VM: name it');
    }
    const { prices } = options;
    const taken =
      prices === undefined ? undefined : await setPrices(service, vault, { month, file: prices });
    return await showVault(context, { vault, month, taken });
  }
  if (options.prices !== undefined) {
    throw new UsageError(`--prices are those of a vault: holdfast charges ${fullName(item.vault)}`);
  }
  if (options.forecast === true) {
    if (options.month !== undefined) throw new UsageError('--forecast begins with the next month');
    return await showForecast(context, item);
  }
  await showItem(context, item, month);
}

/** Undefined: it is a vault, or no name was given. */
async function itemNamed(
  service: Service,
  name: string | undefined,
): Promise<ServiceItem | undefined> {
  if (name === undefined) return undefined;
  const [vaults, items] = await Promise.all([listVaults(service), listItems(service)]);
  const isNamed = (named: Named): boolean =>
    isSame(name.includes('/') ? fullName(named) : named.name, name);
  const isVault = vaults.some(isNamed);
  const isVm = items.some(({ vm }) => isNamed(vm));
  if (isVault && isVm) {
    const [vault, vm] = [vaults.find(isNamed)!, items.find((one) => isNamed(one.vm))!.vm];
    throw new HoldfastError(
      'NameAmbiguous',
      `there is a vault and a VM ${name}: write ${fullName(vault)} or ${fullName(vm)}`,
    );
  }
  return isVault ? undefined : await findItem(service, name, undefined);
}

function pathOf(service: Service, { group, name }: Named): string {
  const vault = encodeURIComponent(name);
  return `${service.root}/resourceGroups/${encodeURIComponent(group)}/providers/Holdfast.Backup/vaults/${vault}`;
}

function itemPath(service: Service, { vault, item }: ServiceItem): string {
  return `${pathOf(service, vault)}/charges/${encodeURIComponent(item)}`;
}

function inMonth(month: string): { readonly $filter: string } {
  return { $filter: `month eq '${month}'` };
}

type Prices = { readonly from: string; readonly currency: string };

async function setPrices(
  service: Service,
  vault: Named,
  { month, file }: { readonly month: string; readonly file: string },
): Promise<Prices> {
  const path = `${pathOf(service, vault)}/priceSheets/${month}`;
  const body = { properties: await readSheet(file) };
  try {
    await service.http.json('PUT', path, { body });
    // As it was accepted, it has one.
    return { from: month, currency: (body.properties as { readonly currency: string }).currency };
  } catch (error) {
    if (!(error instanceof ServiceRefusal) || error.code !== 'InvalidRequestContent') throw error;
    throw new HoldfastError('PriceSheetInvalid', sheetFaults(file, error.message), {
      cause: error,
    });
  }
}

/** Fields are those of the file, not of the request that it was put into. */
function sheetFaults(file: string, told: string): string {
  const faults = told
    .replace(/^[^:]*content was invalid: /, '')
    .replaceAll(/'properties(?:\.([^']+))?': /g, (_all, field?: string) => `${field ?? 'it'}: `);
  return `${file} is no price sheet: ${faults.replace(/\.$/, '')}; holdfast charges --help shows one`;
}

async function readSheet(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UsageError(`--prices ${file} cannot be read: ${whyUnread(cause)}`);
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError('PriceSheetInvalid', `${file} is no JSON`, { cause });
  }
}

async function showVault(
  { service, terminal }: ServiceContext,
  of: { readonly vault: Named; readonly month: string; readonly taken: Prices | undefined },
): Promise<void> {
  const { vault, month, taken } = of;
  const path = pathOf(service, vault);
  const query = inMonth(month);
  const summary = (await service.http.json('GET', `${path}/chargeSummary`, { query })) as Summary;
  const listed = await service.allOf<{ readonly properties: ItemCharges }>(
    `${path}/charges`,
    query,
  );
  const items = listed.map(({ properties }) => properties);
  const document = { vault: fullName(vault), ...summary, items };
  terminal.result(taken === undefined ? document : { ...document, prices: taken }, () => {
    const head = `${fullName(vault)} in ${month}`;
    const prices = taken === undefined ? [] : [takenText(vault, taken)];
    if (items.length === 0)
      return [...prices, `${head}: nothing is charged.`, ...repositoryOf(summary)].join('\n');
    const money = moneyIn(summary.currency);
    const table = formatTable(
      [
        left('VM'),
        right('DAYS'),
        right('SIZE'),
        right('STORED'),
        right('GB-MONTHS'),
        right('INSTANCE'),
        right('STORAGE'),
        right('COST'),
      ],
      items.map((item) => [
        `${fullName(namedBy(item.sourceResourceId))}${item.isDeleted ? ' (deleted)' : ''}`,
        daysOf(item),
        formatBytes(item.protectedInstance.sizeInBytes),
        formatBytes(item.storage.storedInBytes),
        gbMonths(item.storage.gbMonths),
        money(item.protectedInstance.cost),
        money(item.storage.cost),
        money(item.cost),
      ]),
    );
    const total =
      summary.cost === undefined
        ? 'no prices: --prices FILE sets them'
        : `${money(summary.cost)}: instances ${money(summary.protectedInstances.cost)}, storage ${money(summary.storage.cost)}`;
    const told = `${head}: ${formatCount(items.length, 'protected instance')}; ${total}.`;
    return [
      ...prices.flatMap((text) => [text, '']),
      table,
      '',
      told,
      ...estimated(summary),
      ...repositoryOf(summary),
    ].join('\n');
  });
}

function takenText(vault: Named, { from, currency }: Prices): string {
  return `From ${from} on, ${fullName(vault)} has these prices, in ${currency}.`;
}

function repositoryOf({ repository }: Summary): readonly string[] {
  if (repository === undefined)
    return ['No day has been read yet: the first is, when it has ended (UTC).'];
  const { readAt, ownedInBytes, othersInBytes, deadInBytes, overheadInBytes } = repository;
  const rest =
    deadInBytes === undefined
      ? ''
      : `; not charged: ${formatBytes(deadInBytes)} await compaction, ${formatBytes(overheadInBytes ?? 0)} overhead` +
        (othersInBytes === undefined || othersInBytes === 0
          ? ''
          : `, ${formatBytes(othersInBytes)} of points of holdfast repo`);
  return [`At ${shortTime(readAt)}: ${formatBytes(ownedInBytes)} of recovery points${rest}.`];
}

function estimated({ estimatedDays }: { readonly estimatedDays: number }): readonly string[] {
  if (estimatedDays === 0) return [];
  const days = formatCount(estimatedDays, 'day');
  return [
    `${days} could not be read, and ${estimatedDays === 1 ? 'is' : 'are'} taken as the day before.`,
  ];
}

function daysOf({ chargedDays, freeDays, daysInMonth }: ItemCharges): string {
  return `${chargedDays}/${daysInMonth}${freeDays === 0 ? '' : ` +${freeDays} free`}`;
}

function gbMonths(count: number | undefined): string {
  if (count === undefined) return '-';
  return count > 0 && count < 0.001 ? '<0.001' : count.toFixed(3);
}

/** `EUR 1.23`; four digits below one. */
function moneyIn(currency: string | undefined): (cost: number | undefined) => string {
  return (cost) => {
    if (cost === undefined) return '-';
    return `${currency ?? ''} ${cost.toFixed(cost !== 0 && cost < 1 ? 4 : 2)}`.trim();
  };
}

async function showItem(
  { service, terminal }: ServiceContext,
  item: ServiceItem,
  month: string,
): Promise<void> {
  const path = itemPath(service, item);
  const properties = await monthOf(service, path, month);
  const freed = (await service.http.json('GET', `${path}/points`)) as Freed;
  const [vm, vault] = [fullName(item.vm), fullName(item.vault)];
  const shown = { vm, vault, month, ...properties, present: freed.value };
  terminal.result(shown, () => {
    if (properties === undefined) {
      const nothing = `${vm} in ${month}: nothing is charged, as no day was read at whose end it had recovery points.`;
      return freed.value.length === 0 ? nothing : `${nothing}\n\n${pointTable({}, freed)}`;
    }
    const money = moneyIn(properties.currency);
    const { small, standard } = properties.protectedInstance.instanceMonths;
    const head = formatFacts([
      ['VM', vm],
      ['Vault', vault],
      ['Month', month],
      ['Days charged', daysOf(properties)],
      ['Size', formatBytes(properties.protectedInstance.sizeInBytes)],
      ['Instance-months', small > 0 ? `${small.toFixed(3)} of up to 50 GB` : standard.toFixed(3)],
      ['Storage', `${gbMonths(properties.storage.gbMonths)} GB-months`],
      ['Cost', properties.cost === undefined ? '' : money(properties.cost)],
    ]);
    return [head, '', pointTable(properties, freed), ...estimated(properties)].join('\n');
  });
}

/** Undefined: nothing is charged in it. */
async function monthOf(
  service: Service,
  path: string,
  month: string,
): Promise<ItemCharges | undefined> {
  try {
    const query = inMonth(month);
    const charges = (await service.http.json('GET', path, { query })) as {
      readonly properties: ItemCharges;
    };
    return charges.properties;
  } catch (error) {
    if (error instanceof ServiceRefusal && error.code === 'ChargesNotFound') return undefined;
    throw error;
  }
}

/** What each point cost in the month; of those that are there, what its end would free and save by month. */
function pointTable(charges: Pick<ItemCharges, 'points' | 'currency'>, freed: Freed): string {
  const present = new Map(freed.value.map((point) => [point.name, point]));
  const past = (charges.points ?? []).filter(({ name }) => !present.has(name));
  const names = [...past.map(({ name }) => name), ...present.keys()];
  const own = new Map((charges.points ?? []).map((point) => [point.name, point]));
  const [month, now] = [moneyIn(charges.currency), moneyIn(freed.currency)];
  return formatTable(
    [
      left('POINT'),
      left('TAKEN'),
      right('GB-MONTHS'),
      right('COST'),
      right('OWNS'),
      right('FREED IF EXPIRED'),
      right('SAVES A MONTH'),
    ],
    names.map((name) => {
      const there = present.get(name);
      return [
        name,
        there === undefined ? 'expired' : shortTime(there.time),
        gbMonths(own.get(name)?.gbMonths),
        month(own.get(name)?.cost),
        there?.ownedInBytes === undefined ? '-' : formatBytes(there.ownedInBytes),
        there === undefined ? '-' : formatBytes(there.freedIfExpired),
        now(there?.savedByMonth),
      ];
    }),
  );
}

async function showForecast(
  { service, terminal }: ServiceContext,
  item: ServiceItem,
): Promise<void> {
  const forecast = (await service.http.json(
    'GET',
    `${itemPath(service, item)}/forecast`,
  )) as Forecast;
  const { value: months, churnInBytes, assumptions } = forecast;
  const vm = fullName(item.vm);
  terminal.result({ vm, vault: fullName(item.vault), churnInBytes, assumptions, months }, () => {
    const table = formatTable(
      [left('MONTH'), right('POINTS'), right('STORED'), right('COST')],
      months.map(({ month, points, storedInBytes, currency, cost }) => [
        month,
        String(points),
        formatBytes(storedInBytes),
        moneyIn(currency)(cost),
      ]),
    );
    return [table, '', `${vm} changes ${formatBytes(churnInBytes)} a backup.`, ...assumptions].join(
      '\n',
    );
  });
}
