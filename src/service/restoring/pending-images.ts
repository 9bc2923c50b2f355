/** Images that jobs which have not ended are still to write: restores, and boots that move to disks of their own. */
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isHoldfastError } from '#base';
import { bytesToRestore } from '#backup';
import { bootRequestFromJson } from '../booting/boot-request.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { getPoint, type Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import { restoreFolder } from './restore-folder.ts';
import { restoreRequestFromJson } from './restore-request.ts';

type PointDisk = Point['facts']['disks'][number];

/** Disks of a point. */
export type Images = {
  readonly vaultId: string;
  readonly point: string;
  readonly disks: readonly PointDisk[];
};

export type PendingImages = Images & {
  /** For people: "Restore of web (job 1f0c…)". */
  readonly job: string;
  readonly writtenBytes: number;
};

/** Of jobs that write to the file system where `folder` is. */
export async function pendingImages(
  { catalogue: { read } }: Pick<ServiceParts, 'catalogue'>,
  folder: string,
): Promise<readonly PendingImages[]> {
  const jobs = await read
    .selectFrom('jobs')
    .selectAll()
    .where('endedAt', 'is', null)
    .where('operation', 'in', ['Restore', 'InstantBoot'])
    .orderBy('place')
    .execute();
  const device = await deviceOf(folder);
  const pending: PendingImages[] = [];
  for (const job of jobs) {
    const asked = await askedBy(read, job);
    if (asked === undefined || (await deviceOf(dirname(asked.folder))) !== device) continue;
    pending.push({
      ...asked.images,
      job: `${job.operation} of ${job.entity} (job ${job.id})`,
      writtenBytes: await bytesIn(asked.folder),
    });
  }
  return pending;
}

/** Of their disks when written full. */
export function wholeBytes({ disks }: Images): number {
  return disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Of their blocks that are not zeros; where the repository does not tell, of the whole disks. */
export async function storedBytes(
  { repositories }: Pick<ServiceParts, 'repositories'>,
  images: Images,
): Promise<number> {
  const { vaultId, point, disks } = images;
  const chosen = { point, names: disks.map(({ name }) => name) };
  try {
    return await repositories.read(
      vaultId,
      async (repository) => await bytesToRestore(repository, chosen),
    );
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return wholeBytes(images);
  }
}

/** Undefined: nothing is written in the end, or its point is gone. */
async function askedBy(
  reader: CatalogueReader,
  job: Row<'jobs'>,
): Promise<{ readonly folder: string; readonly images: Images } | undefined> {
  const { vaultId, itemId, request, operation } = job;
  if (operation === 'InstantBoot') {
    const { directory, point, disks, isTrial } = bootRequestFromJson(request);
    const all = await disksOf(reader, itemId!, point);
    if (isTrial || all === undefined) return undefined;
    const chosen = all.filter(({ name }) => disks === undefined || disks.includes(name));
    return { folder: directory, images: { vaultId, point, disks: chosen } };
  }
  const { point, luns } = restoreRequestFromJson(request);
  const all = await disksOf(reader, itemId!, point);
  if (all === undefined) return undefined;
  const folder = await restoreFolder(reader, job);
  return { folder, images: { vaultId, point, disks: chosenOf(all, luns) } };
}

/** The system disk is always with them (R73). */
export function chosenOf(
  disks: readonly PointDisk[],
  luns: readonly number[] | undefined,
): readonly PointDisk[] {
  return disks.filter(({ lun }) => lun === undefined || luns === undefined || luns.includes(lun));
}

async function disksOf(
  reader: CatalogueReader,
  itemId: string,
  point: string,
): Promise<readonly PointDisk[] | undefined> {
  try {
    return (await getPoint(reader, itemId, point)).facts.disks;
  } catch (error) {
    if (isHoldfastError(error, 'BMSUserErrorRecoveryPointNotFound')) return undefined;
    throw error;
  }
}

/** Undefined: it is not there. */
async function deviceOf(folder: string): Promise<number | undefined> {
  const found = await stat(folder).catch(() => undefined); // Its disk is not mounted: nothing is written there.
  return found?.dev;
}

/** What its files take. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []); // It is not there yet.
  const found = await Promise.all(
    names.map(async (name) => await stat(join(folder, name)).catch(() => undefined)), // Gone meanwhile.
  );
  return found.reduce((sum, file) => sum + (file?.blocks ?? 0) * 512, 0);
}
