/** `holdfast repo expire`: ends points, by id or by rules of what to keep, or says what would end. */
import {
  expirePoints,
  findPoint,
  keepPlanOfItems,
  planExpiry,
  type ExpiryResult,
  type KeepPlan,
} from '#backup';
import { parseKeepRules, type KeepOptions } from '../arguments/keep-rules.ts';
import type { Context } from '../context.ts';
import { formatTable, left } from '../output/table.ts';
import { formatBytes, formatCount, formatTime } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';

export type ExpireOptions = KeepOptions & { readonly item?: string; readonly dryRun?: boolean };

type OpenRepository = Parameters<typeof findPoint>[0];
/** Which points, and for those that stay by a rule, why. */
type Choice = Pick<KeepPlan, 'expire'> & Partial<Pick<KeepPlan, 'keep'>>;
type Planned = {
  readonly choice: Choice;
  readonly freedBytes: number;
  /** Of every point, by id. */
  readonly timesMs: ReadonlyMap<string, number>;
};
type Expired = { readonly choice: Choice; readonly result: ExpiryResult };

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
        const choice = choose(repository);
        const { freedBytes } = await planExpiry(repository.parts, choice.expire);
        const { points } = repository.state;
        const timesMs = new Map(
          Array.from(points.values(), ({ point, timeMs }) => [point, timeMs]),
        );
        return { choice, freedBytes, timesMs };
      },
    );
    context.terminal.result(planJson(planned), () => describePlan(planned));
    return;
  }
  const expired = await context.withRepository({ location, access: 'own' }, async (repository) => {
    const choice = choose(repository);
    return { choice, result: await expirePoints(repository.parts, choice.expire) };
  });
  context.terminal.result(expiredJson(expired), () => describe(expired, location));
}

function chooser(
  ids: readonly string[],
  options: ExpireOptions,
): (repository: OpenRepository) => Choice {
  const rules = parseKeepRules(options);
  if (ids.length > 0 && rules !== undefined) {
    throw new UsageError('name points or say what to keep, not both');
  }
  if (rules !== undefined) {
    return (repository) => keepPlanOfItems(repository, rules, options.item);
  }
  if (ids.length === 0) {
    throw new UsageError('name the points, or say what to keep, for example --keep-daily 7');
  }
  return (repository) => ({
    expire: [...new Set(ids.map((id) => findPoint(repository, id, options.item)))],
  });
}

function planJson({ choice, freedBytes }: Planned): unknown {
  return { points: choice.expire, freedBytes, keep: keepJson(choice), dryRun: true };
}

function expiredJson({ choice, result }: Expired): unknown {
  const { points, freedBytes, mergedBlocks, deletedBlocks, kept } = result;
  const figures = { points, mergedBlocks, deletedBlocks, freedBytes, keptByReaders: kept };
  return { ...figures, keep: keepJson(choice), dryRun: false };
}

function keepJson({ keep = new Map<string, readonly string[]>() }: Choice): unknown {
  return Array.from(keep, ([id, why]) => ({ id, why }));
}

function describePlan({ choice, freedBytes, timesMs }: Planned): string {
  const timeOf = (id: string): number => timesMs.get(id) ?? 0;
  const rows = [
    ...choice.expire.map((id) => ({ id, would: 'expire', why: '' })),
    ...Array.from(choice.keep ?? [], ([id, why]) => ({ id, would: 'keep', why: why.join(', ') })),
  ].toSorted((a, b) => timeOf(a.id) - timeOf(b.id));
  const table = formatTable(
    ['POINT', 'TIME', 'WOULD', 'WHY'].map(left),
    rows.map(({ id, would, why }) => [id, formatTime(timeOf(id)), would, why]),
  );
  const count = formatCount(choice.expire.length, 'point');
  return `${table}\n\n${count} would expire and free ${formatBytes(freedBytes)}; nothing was changed.`;
}

/** In the words of the documents: merged, deleted, freed. */
function describe({ result, choice }: Expired, location: string): string {
  const { points, freedBytes, mergedBlocks, deletedBlocks, kept } = result;
  const rest = choice.keep === undefined ? '' : `, kept ${choice.keep.size}`;
  if (points.length === 0) return `Nothing to expire${rest}.`;
  const lines = [
    `Expired ${formatCount(points.length, 'point')}${rest}: ${points.join(' ')}`,
    `${formatCount(mergedBlocks, 'block')} merged into later points, ` +
      `${formatCount(deletedBlocks, 'block')} deleted, ${formatBytes(freedBytes)} freed.`,
  ];
  if (freedBytes > 0) lines.push(`To have the space back: holdfast repo compact ${location}`);
  if (kept.length > 0) {
    lines.push(
      `${formatCount(kept.length, 'point')} still in use by a backup or a restore: freed when it ends.`,
    );
  }
  return lines.join('\n');
}
