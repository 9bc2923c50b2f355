/** Where the disks of an export are reached, and what its job calls them. */
import { join } from 'node:path';
import type { DataFolder } from '../data-folder/data-folder.ts';
import type { ExportRequest } from './export-request.ts';

type Disk = ExportRequest['disks'][number];

/** Of one job alone; short, as sockets' paths must be. */
export function exportFolder({ exports }: DataFolder, jobId: string): string {
  return join(exports, jobId.slice(0, 8));
}

/** The same for every try of the job: clients find it again. */
export function socketPath(folder: string, { lun }: Disk): string {
  return join(folder, lun === undefined ? 'os.sock' : `lun${lun}.sock`);
}

/** The property of the job that holds the disk's URI. */
export function uriProperty({ lun }: Disk): string {
  return lun === undefined ? 'NBD URI of the system disk' : `NBD URI of LUN ${lun}`;
}
