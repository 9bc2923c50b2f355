/** `holdfast repo expire`: ends points, by id or by rules of what to keep, or says what would end. */
import { HoldfastError, shellQuoted } from '#base';
import {
  expirePoints,
  findPoint,
  itemNames,
  keepPlanOfItems,
  planExpiry,
  readDocument,
  type ExpiryResult,
  type KeepPlan,
} from '#backup';
import { parseKeepRules, type KeepOptions } from '../arguments/keep-rules.ts';
import type { Context } from '../context.ts';
import { formatTable, left } from '../output/table.ts';
import { formatBytes, formatCount, formatTime } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';

export type ExpireOptions = KeepOptions & {
  readonly item?: string;
  readonly dryRun?: boolean;
  readonly ofVault?: boolean;
};

type OpenRepository = Parameters<typeof findPoint>[0];
/** Which points, and for those that stay by a rule, why. */
type Choice = Pick<KeepPlan, 'expire'> & Partial<Pick<KeepPlan, 'keep'>>;
/** What people want to see of every point, by id. */
type Shown = {
  readonly items: ReadonlyMap<string, string>;
  readonly timesMs: ReadonlyMap<string, number>;
};
type Planned = Shown & { readonly choice: Choice; readonly freedBytes: number };
type Expired = Shown & { readonly choice: Choice; readonly result: ExpiryResult };

export async function expire(
  context: Context,
  input: {
    readonly location: string;
    readonly ids: readonly string[];
    readonly options: ExpireOptions;
  },
): Promise<void> {
  const { location, ids, options } = input;
  const choose = chooser(ids, options);
  if (options.dryRun === true) {
    const planned = await context.withRepository(
      { location, access: 'read' },
      async (repository) => {
        const choice = await choose(repository);
        const { freedBytes } = await planExpiry(repository.parts, choice.expire);
        return { choice, freedBytes, ...(await shownOf(repository)) };
      },
    );
    context.terminal.result(planJson(planned), () => describePlan(planned));
    return;
  }
  const target = { location, access: 'own', freesSpace: true } as const;
  const expired = await context.withRepository(target, async (repository) => {
    if (options.ofVault !== true) await requireNoVault(repository);
    const choice = await choose(repository);
    const shown = await shownOf(repository); // Before they are gone.
    return { ...shown, choice, result: await expirePoints(repository.parts, choice.expire) };
  });
  context.terminal.result(expiredJson(expired), () => describe(expired, location));
}

/** What a service promised of its points (pins, policies, an immutable vault) only the service knows. */
async function requireNoVault({ parts, state }: OpenRepository): Promise<void> {
  if (!state.documents.has('vault') || (await readDocument(parts, 'vault')) === null) return;
  throw new HoldfastError(
    'RepositoryOfVault',
    'this repository is the vault of a service, which has promised how long each point is kept: use holdfast policy set, ' +
      'holdfast point delete or holdfast unprotect; where that service is gone for good, --of-vault expires them all the same',
  );
}

async function shownOf(repository: OpenRepository): Promise<Shown> {
  const points = [...repository.state.points.values()];
  const timesMs = new Map(points.map(({ point, timeMs }) => [point, timeMs]));
  return { items: await itemNames(repository), timesMs };
}

function chooser(
  ids: readonly string[],
  options: ExpireOptions,
): (repository: OpenRepository) => Promise<Choice> {
  const rules = parseKeepRules(options);
  if (ids.length > 0 && rules !== undefined) {
    throw new UsageError('name points or say what to keep, not both');
  }
  if (rules !== undefined) {
    return async (repository) => await keepPlanOfItems(repository, rules, options.item);
  }
  if (ids.length === 0) {
    throw new UsageError('name the points, or say what to keep, for example --keep-daily 7');
  }
  return async (repository) => {
    const found = ids.map(async (id) => await findPoint(repository, id, options.item));
    return { expire: [...new Set(await Promise.all(found))] };
  };
}

function planJson(planned: Planned): unknown {
  const { choice, freedBytes } = planned;
  return { points: choice.expire, freedBytes, ...keepJson(planned), dryRun: true };
}

function expiredJson(expired: Expired): unknown {
  const { result } = expired;
  const { points, freedBytes, mergedBlocks, deletedBlocks, kept } = result;
  const figures = { points, mergedBlocks, deletedBlocks, freedBytes, keptByReaders: kept };
  return { ...figures, ...keepJson(expired), dryRun: false };
}

/** `items`: the item of each point named, by id. */
function keepJson({ choice, items }: Shown & { readonly choice: Choice }): object {
  const keep = Array.from(choice.keep ?? [], ([id, why]) => ({ id, why }));
  const named = [...choice.expire, ...keep.map(({ id }) => id)];
  return { keep, items: Object.fromEntries(named.map((id) => [id, items.get(id) ?? ''])) };
}

/** One row a point, oldest first. */
function tableOf(
  { choice, items, timesMs }: Shown & { readonly choice: Choice },
  words: { readonly title: string; readonly expire: string; readonly keep: string },
): string {
  const timeOf = (id: string): number => timesMs.get(id) ?? 0;
  const rows = [
    ...choice.expire.map((id) => ({ id, what: words.expire, why: '' })),
    ...Array.from(choice.keep ?? [], ([id, why]) => ({
      id,
      what: words.keep,
      why: why.join(', '),
    })),
  ].toSorted((a, b) => timeOf(a.id) - timeOf(b.id));
  return formatTable(
    ['POINT', 'ITEM', 'TIME', words.title, 'WHY'].map(left),
    rows.map(({ id, what, why }) => [id, items.get(id) ?? '', formatTime(timeOf(id)), what, why]),
  );
}

function describePlan(planned: Planned): string {
  const { choice, freedBytes } = planned;
  const table = tableOf(planned, { title: 'WOULD', expire: 'expire', keep: 'keep' });
  const count = formatCount(choice.expire.length, 'point');
  return `${table}\n\n${count} would expire and free ${formatBytes(freedBytes)}; nothing was changed.`;
}

/** In the words of the documents: merged, deleted, freed. */
function describe(expired: Expired, location: string): string {
  const { result, choice } = expired;
  const { points, freedBytes, mergedBlocks, deletedBlocks, kept } = result;
  const rest = choice.keep === undefined ? '' : `, kept ${choice.keep.size}`;
  if (points.length === 0) return `Nothing to expire${rest}.`;
  const lines = [
    `${tableOf(expired, { title: 'WAS', expire: 'expired', keep: 'kept' })}\n`,
    `Expired ${formatCount(points.length, 'point')}${rest}.`,
    `${formatCount(mergedBlocks, 'block')} merged into later points, ` +
      `${formatCount(deletedBlocks, 'block')} deleted, ${formatBytes(freedBytes)} freed.`,
  ];
  if (freedBytes > 0)
    lines.push(`To have the space back: holdfast repo compact ${shellQuoted(location)}`);
  if (kept.length > 0) {
    lines.push(
      `${formatCount(kept.length, 'point')} still in use by a backup or a restore: freed when it ends.`,
    );
  }
  return lines.join('\n');
}
