/** How ExportDisks jobs come to be. What can be known now is refused now (decision 0008, invariant 5). */
import { HoldfastError } from '#base';
import { requireSocketPath } from '#backup';
import { noteItemActivity } from '../activities/activities.ts';
import { requireAllowed } from '../items/item-states.ts';
import { getItem, type ItemName } from '../items/items.ts';
import type { Accepted } from '../items/protect.ts';
import { disksAt } from '../points/disks-at.ts';
import { getPoint } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import type { ExportRequest } from './export-request.ts';
import { exportFolder, socketPath } from './export-sockets.ts';

/** As Azure's session for the recovery of files. */
const DEFAULT_MINUTES = 12 * 60;
const MOST_MINUTES = 31 * 24 * 60;
/** As long as every job's. */
const SOME_JOB = '00000000';

export type WantedExport = {
  readonly point: string;
  /** Absent: all disks. The system disk is always with them, as in a restore (R73). */
  readonly luns?: readonly number[];
  /** After which it ends by itself; absent: 12 hours. */
  readonly minutes?: number;
};

/**
 * Shows disks of a recovery point of the item over NBD, read-only, on unix sockets in the data folder.
 *
 * @throws {HoldfastError} `ResourceNotFound` for the vault; `BMSUserErrorProtectedItemNotFound`,
 *   `BMSUserErrorRecoveryPointNotFound`; `UserErrorInvalidDiskSelection`; `ArgumentInvalid` for a time that is not 1
 *   minute to 31 days, or a data folder whose path is too long for sockets.
 */
export async function startExport(
  parts: ServiceParts,
  name: ItemName,
  { point: id, luns, minutes = DEFAULT_MINUTES }: WantedExport,
): Promise<Accepted> {
  const { catalogue, dataFolder, jobs } = parts;
  const item = await getItem(catalogue.read, name);
  requireAllowed('restore', item);
  const point = await getPoint(catalogue.read, item.id, id);
  const disks = disksAt(point, luns).map(({ name: disk, lun }) =>
    lun === undefined ? { name: disk } : { name: disk, lun },
  );
  if (!(minutes >= 1 && minutes <= MOST_MINUTES)) {
    throw new HoldfastError('ArgumentInvalid', 'An export lasts from 1 minute to 31 days.');
  }
  for (const disk of disks) requireSocketPath(socketPath(exportFolder(dataFolder, SOME_JOB), disk));
  const request: ExportRequest = { point: id, disks, minutes: Math.ceil(minutes) };
  const jobId = await catalogue.change(async (change) => {
    const detail = { point: id, disks: disks.map((disk) => disk.name) };
    await noteItemActivity(parts, change, { item: item.id, action: 'ExportDisks', detail });
    return await jobs.add(change, {
      vaultId: item.vaultId,
      itemId: item.id,
      entity: item.vmName,
      operation: 'ExportDisks',
      isUserTriggered: true,
      request,
      properties: { 'Recovery point time': new Date(point.takenAt).toISOString() },
    });
  });
  return { jobId };
}
