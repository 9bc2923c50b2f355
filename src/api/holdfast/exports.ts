/** Holdfast.Backup/…/recoveryPoints/…/export: the disks of a recovery point over NBD, on the service's machine. */
import { z } from 'zod';
import { getItem, getPoint, startExport } from '#service';
import { route } from '../frame/route.ts';
import { DISK_LUNS } from '../frame/wire.ts';
import { accepted } from '../items/accepted.ts';
import { itemAt } from '../items/item-names.ts';
import { OWN_POINT } from './own-vault.ts';

const BODY = z.strictObject({
  properties: z
    .strictObject({
      /** Absent: all disks. The system disk is always with them. */
      restoreDiskLunList: DISK_LUNS.nullish(),
      /** Absent: 12 hours. Its job, cancelled, ends it before. */
      expiresAfterMinutes: z.int().min(1).max(44_640).nullish(),
    })
    .optional(),
});

export const exportRoutes = [
  route({
    method: 'POST',
    path: `${OWN_POINT}/export`,
    summary:
      'Shows the disks of a recovery point over NBD: starts a job, whose properties tell where',
    body: BODY,
    isBodyOptional: true,
    handle: async (request) => {
      const { service, params, body } = request;
      const name = itemAt(params);
      const item = await getItem(service.catalogue.read, name);
      await getPoint(service.catalogue.read, item.id, params.point);
      const { restoreDiskLunList: luns, expiresAfterMinutes: minutes } =
        (body as z.infer<typeof BODY> | undefined)?.properties ?? {};
      const { jobId } = await startExport(service, name, {
        point: params.point,
        ...(luns == null ? {} : { luns }),
        ...(minutes == null ? {} : { minutes }),
      });
      return await accepted(request, { name, kind: 'ExportDisks', jobId });
    },
  }),
];
