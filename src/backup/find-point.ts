/** Recovery points as people name them, and what there is to know of one. */
import { HoldfastError } from '#base';
import { checkItem, itemsThere } from './points/item-names.ts';
import { groupOf, safetyBeforeOf, type PointGroup } from './vms/vm-note.ts';
import { keepPlan, type KeepPlan, type KeepRules } from './points/keep-plan.ts';
import {
  pointSizes,
  readManifest,
  type Manifest,
  type PointSizes,
  type Repository,
} from '#repository';

/** A point with its manifest and what it costs. */
export type PointDetails = {
  readonly manifest: Manifest;
  readonly sizes: PointSizes;
  /** Of a safety point: the point that the VM was then put back to. */
  readonly safetyBefore?: string;
  /** The points that were taken at the same instant, itself included; absent: it was taken alone. */
  readonly group?: PointGroup;
};

export type ListedPoint = PointSizes & NotedOfVm;

type NotedOfVm = Pick<PointDetails, 'safetyBefore' | 'group'>;

const LATEST = 'latest';
const SHOWN_MATCHES = 3;
/** Ids are times: fewer digits than that name a point by accident. */
const MIN_PREFIX_DIGITS = 6;

/**
 * The point that `text` means: a whole id, the beginning of one (six digits or more), or `latest`.
 *
 * @param item only points of the item of this name; `latest` needs it where there are several items.
 * @throws {HoldfastError} `PointNotFound`, also for an item without points; `ArgumentInvalid` if `text`
 *   means several or is too short.
 */
export async function findPoint(
  repository: Repository,
  text: string,
  item?: string,
): Promise<string> {
  if (item !== undefined) await checkItem(repository, item);
  const { keyring } = repository.parts;
  const itemId = item === undefined ? undefined : keyring.itemId(item);
  const points = [...repository.state.points.values()].filter(
    (point) => point.visible && (itemId === undefined || point.item === itemId),
  );
  const ofItem = item === undefined ? '' : ` of ${item}`;
  if (text === LATEST) {
    if (new Set(points.map((point) => point.item)).size > 1) {
      throw new HoldfastError(
        'ArgumentInvalid',
        `there are several items: name one with --item (${await itemsThere(repository)})`,
      );
    }
    const latest = points.toSorted((a, b) => a.timeMs - b.timeMs).at(-1);
    if (latest !== undefined) return latest.point;
    throw new HoldfastError('PointNotFound', 'there is no recovery point yet');
  }
  const exact = points.find(({ point }) => point === text);
  if (exact !== undefined) return exact.point;
  if (text.length < MIN_PREFIX_DIGITS) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `"${text}" is too short for a recovery point: write at least ${MIN_PREFIX_DIGITS} digits of its id, or latest`,
    );
  }
  const found = points.filter(({ point }) => point.startsWith(text));
  if (found.length === 1) return found[0]!.point;
  if (found.length === 0) {
    throw new HoldfastError('PointNotFound', `there is no recovery point "${text}"${ofItem}`, {
      details: { point: text },
    });
  }
  const shown = found.slice(0, SHOWN_MATCHES).map(({ point }) => point);
  throw new HoldfastError(
    'ArgumentInvalid',
    `${found.length} points begin with ${text} (${shown.join(', ')}${found.length > SHOWN_MATCHES ? ', …' : ''}): write more of the id`,
  );
}

/**
 * What `rules` keep and expire of each item by itself.
 *
 * @param item only that one; absent: all items.
 * @throws {HoldfastError} `ArgumentInvalid` if the rules keep nothing; `PointNotFound` if the item has no point.
 */
export async function keepPlanOfItems(
  repository: Repository,
  rules: KeepRules,
  item: string | undefined,
): Promise<KeepPlan> {
  if (item !== undefined) await checkItem(repository, item);
  const itemId = item === undefined ? undefined : repository.parts.keyring.itemId(item);
  const points = [...repository.state.points.values()].filter(
    (point) => point.visible && (itemId === undefined || point.item === itemId),
  );
  const plans = [...Map.groupBy(points, (point) => point.item).values()].map((ofItem) =>
    keepPlan(
      ofItem.map(({ point: id, timeMs }) => ({ id, timeMs })),
      rules,
    ),
  );
  if (plans.length === 0) return keepPlan([], rules);
  return {
    keep: new Map(plans.flatMap(({ keep }) => [...keep])),
    expire: plans.flatMap(({ expire }) => expire),
  };
}

/**
 * The visible points, oldest first.
 *
 * @param item only those of the item of this name; absent: all.
 * @throws {HoldfastError} as `checkItem`.
 */
export async function listPoints(
  repository: Repository,
  item: string | undefined,
): Promise<readonly ListedPoint[]> {
  const { state, parts } = repository;
  const isEmpty = ![...state.points.values()].some((point) => point.visible);
  if (item !== undefined && !isEmpty) await checkItem(repository, item);
  const noted = new Map<string, NotedOfVm>();
  const sizes = await pointSizes(parts, {
    ...(item === undefined || isEmpty ? {} : { item }),
    onManifest: ({ point, vm }) => void noted.set(point, notedOfVm(vm)),
  });
  return sizes.map((point) => ({ ...point, ...noted.get(point.id) }));
}

function notedOfVm(vm: unknown): NotedOfVm {
  const safetyBefore = safetyBeforeOf(vm);
  const group = groupOf(vm);
  return {
    ...(safetyBefore === undefined ? {} : { safetyBefore }),
    ...(group === undefined ? {} : { group }),
  };
}

/** @throws {HoldfastError} `PointNotFound`; `ObjectDamaged` if its manifest cannot be read. */
export async function pointDetails(repository: Repository, id: string): Promise<PointDetails> {
  const { parts } = repository;
  const known = repository.state.points.get(id);
  if (known === undefined) {
    throw new HoldfastError('PointNotFound', `there is no recovery point ${id}`);
  }
  const manifest = await readManifest(parts, known);
  const sizes = (await pointSizes(parts, { item: manifest.item })).find((point) => point.id === id);
  if (sizes === undefined) {
    throw new HoldfastError('PointNotFound', `the recovery point ${id} has expired`);
  }
  return { manifest, sizes, ...notedOfVm(manifest.vm) };
}
