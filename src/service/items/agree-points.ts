/**
 * Points that came or went in a repository without their item's document: of `holdfast repo`, or of a job that made
 * one and could not record it. The repository knows which are there (DESIGN §3.4); documents and catalogue follow.
 */
import { isHoldfastError } from '#base';
import { describeVmPoint, type VmPointDescription } from '#backup';
import {
  backupRequestOf,
  groupBackupOf,
  type BackupRequest,
} from '../backing-up/backup-request.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { newPointRow } from '../points/record-point.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { changeItem } from './change-item.ts';
import { itemOf, type Item } from './items.ts';

/** @returns a line for every item that was changed. */
export async function agreePoints(
  parts: ServiceParts,
  vaultId: string,
): Promise<readonly string[]> {
  const differing = await parts.repositories.read(
    vaultId,
    async (repository) => await comparePoints(parts, vaultId, repository),
  );
  const changed = differing.filter(({ come, gone }) => come.length > 0 || gone.length > 0);
  for (const one of changed) await follow(parts, one);
  return changed.map(
    ({ item, come, gone }) =>
      `points of ${item.vmGroup}/${item.vmName}: +${come.length} -${gone.length}`,
  );
}

export type DifferingPoints = {
  readonly item: Item;
  /** The repository has them, the catalogue has not. */
  readonly come: readonly VmPointDescription[];
  /** The catalogue has them, the repository has not. */
  readonly gone: readonly string[];
  /** Under the item's name in the repository, and no points of a VM: of `holdfast repo`. */
  readonly strangers: readonly string[];
};

/** Items whose data a job is deleting, and points of jobs that are open, are left to these. */
export async function comparePoints(
  { catalogue }: ServiceParts,
  vaultId: string,
  repository: OpenRepository,
): Promise<readonly DifferingPoints[]> {
  const { read } = catalogue;
  const { state, parts } = repository;
  const visible = Map.groupBy(
    [...state.points.values()].filter((point) => point.visible),
    ({ item }) => item,
  );
  const open = await openJobs(read, vaultId);
  const rows = await read.selectFrom('items').selectAll().where('vaultId', '=', vaultId).execute();
  const differing: DifferingPoints[] = [];
  for (const item of rows.map(itemOf).filter(({ id }) => !open.deleting.has(id))) {
    const itemId = parts.keyring.itemId(item.repositoryItem);
    const there = (visible.get(itemId) ?? []).map(({ point }) => point);
    const known = (
      await read.selectFrom('points').select('id').where('itemId', '=', item.id).execute()
    ).map(({ id }) => id);
    const unknown = there.filter((id) => !known.includes(id) && !open.points.has(id));
    const described = await Promise.all(unknown.map(async (id) => await describe(repository, id)));
    const come = described.filter(
      (point) => point !== undefined && !pointsTogether(point).some((id) => open.points.has(id)),
    ) as VmPointDescription[];
    const strangers = unknown.filter((_, at) => described[at] === undefined);
    const gone = known.filter((id) => !there.includes(id));
    if (come.length + strangers.length + gone.length > 0)
      differing.push({ item, come, gone, strangers });
  }
  return differing;
}

/** It and those of the same instant: the row of their job names one of them. */
function pointsTogether({ point, group }: VmPointDescription): readonly string[] {
  return group?.points.map((one) => one.point) ?? [point];
}

async function openJobs(
  reader: CatalogueReader,
  vaultId: string,
): Promise<{ readonly points: ReadonlySet<string>; readonly deleting: ReadonlySet<string> }> {
  const query = reader.selectFrom('jobs').selectAll().where('vaultId', '=', vaultId);
  const rows = await query.where('endedAt', 'is', null).execute();
  const deleting = rows.filter(({ operation }) => operation === 'DeleteBackupData');
  return {
    points: new Set(rows.flatMap(({ pointId }) => pointId ?? [])),
    deleting: new Set(deleting.flatMap(({ itemId }) => itemId ?? [])),
  };
}

async function describe(
  repository: OpenRepository,
  id: string,
): Promise<VmPointDescription | undefined> {
  try {
    return await describeVmPoint(repository, id);
  } catch (error) {
    if (isHoldfastError(error, 'DefinitionUnsupported')) return undefined;
    throw error;
  }
}

/** Oldest first, each with what came before: of two points of a week only the first has the week's tag. */
async function follow(parts: ServiceParts, { item, come, gone }: DifferingPoints): Promise<void> {
  if (gone.length > 0) {
    await changeItem(parts, item, async () => ({
      item: {},
      deletedPoints: gone,
      also: async () => undefined,
    }));
  }
  for (const description of come.toSorted((one, other) => one.timeMs - other.timeMs)) {
    await changeItem(parts, item, async (now) => ({
      item: {},
      newPoints: [await rowOf(parts, now, description)],
      also: async () => undefined,
    }));
  }
}

/** As its job would have recorded it; one of nobody's is a scheduled one. */
async function rowOf(
  parts: ServiceParts,
  item: Item,
  description: VmPointDescription,
): Promise<Row<'points'>> {
  const job = await parts.catalogue.read
    .selectFrom('jobs')
    .selectAll()
    .where('vaultId', '=', item.vaultId)
    .where('pointId', 'in', pointsTogether(description))
    .executeTakeFirst();
  const asked = job === undefined ? undefined : askedOf(job);
  const { run, expiresAt } = asked ?? {};
  const origin = job?.operation === 'Restore' ? 'safety' : (asked?.origin ?? 'scheduled');
  return await newPointRow(parts, item, {
    origin,
    run,
    expiresAt,
    description,
    jobId: job?.id ?? null,
  });
}

function askedOf(job: Row<'jobs'>): BackupRequest | undefined {
  if (job.operation === 'GroupBackup') return groupBackupOf(job).backup;
  return job.operation === 'Backup' ? backupRequestOf(job) : undefined;
}
