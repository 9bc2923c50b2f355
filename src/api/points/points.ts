/** Microsoft.RecoveryServices/…/recoveryPoints */
import { z } from 'zod';
import {
  getItem,
  getPoint,
  getVault,
  listPoints,
  type Item,
  type Point,
  type VaultName,
} from '#service';
import { parseFilter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { Refusal } from '../frame/refusal.ts';
import { ok, route, type Site } from '../frame/route.ts';
import { refuseUnsupported } from '../frame/wire.ts';
import { ITEM, itemAt, itemId, ITEM_TYPE } from '../items/item-names.ts';

const POINTS = `${ITEM}/recoveryPoints` as const;
const POINT = `${POINTS}/{point}` as const;

/** Azure's models have a field for the size of a VM; here none has one. */
const VM_SIZE = 'Holdfast';

const FILTER_KEYS = [
  'startDate',
  'endDate',
  'restorePointQueryType',
  'extendedInfo',
  'moveReadyRPOnly',
  'includeSoftDeletedRP',
];

const RECOMMENDED = z.strictObject({
  objectType: z.string().nullish(),
  excludedRPList: z.array(z.string()).nullish(),
});

export const pointRoutes = [
  route({
    method: 'GET',
    path: POINTS,
    summary: 'Lists the recovery points of a protected item, the newest first',
    handle: async (request) => {
      const { service, query } = request;
      const name = itemAt(request.params);
      const filter = parseFilter(query.get('$filter'), FILTER_KEYS);
      const [from, to] = [filter.date('startDate'), filter.date('endDate')];
      if (from !== undefined && to !== undefined && from > to) {
        throw new Refusal('InvalidFilter', 'The $filter is not valid: startDate is after endDate.');
      }
      const vault = await getVault(service.catalogue.read, name.vault);
      const item = await getItem(service.catalogue.read, name);
      const points = await listPoints(service.catalogue.read, item.id, {
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
      });
      const isNoneReady = filter.get('moveReadyRPOnly')?.toLowerCase() === 'true';
      const kind = (filter.get('restorePointQueryType') ?? 'All').toLowerCase();
      // Every point of a VM is full; there is no archive that one could move to.
      const chosen = !isNoneReady && (kind === 'all' || kind === 'full') ? points : [];
      return listAnswer(
        request,
        chosen.map((point) => pointToWire(request, { vault, item, point })),
      );
    },
  }),
  route({
    method: 'GET',
    path: POINT,
    summary: 'Shows a recovery point',
    handle: async (request) => {
      const { service, params } = request;
      const name = itemAt(params);
      const vault = await getVault(service.catalogue.read, name.vault);
      const item = await getItem(service.catalogue.read, name);
      const point = await getPoint(service.catalogue.read, item.id, params.point);
      return ok(pointToWire(request, { vault, item, point }));
    },
  }),
  route({
    method: 'POST',
    path: `${ITEM}/recoveryPointsRecommendedForMove`,
    summary:
      'Lists the recovery points that should move to an archive: none, as there is no archive',
    body: RECOMMENDED,
    isBodyOptional: true,
    handle: async (request) => {
      await getItem(request.service.catalogue.read, itemAt(request.params));
      return listAnswer(request, []);
    },
  }),
  route({
    method: 'POST',
    path: `${POINT}/move`,
    summary: 'Refuses to move a recovery point to an archive',
    body: z.looseObject({}),
    handle: async (request) => {
      await requirePoint(request, request.params);
      refuseUnsupported(true, 'Moving recovery points to an archive is');
      return { status: 400 };
    },
  }),
  ...['provisionInstantItemRecovery', 'revokeInstantItemRecovery'].map((action) =>
    route({
      method: 'POST',
      path: `${POINT}/${action as 'provisionInstantItemRecovery'}`,
      summary: 'Refuses the recovery of single files',
      body: z.looseObject({}),
      isBodyOptional: true,
      handle: async (request) => {
        await requirePoint(request, request.params);
        refuseUnsupported(true, 'Recovery of single files from a recovery point is');
        return { status: 400 };
      },
    }),
  ),
];

/** @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`, `BMSUserErrorRecoveryPointNotFound`. */
async function requirePoint(
  { service }: Site,
  params: Parameters<typeof itemAt>[0] & { readonly point: string },
): Promise<void> {
  const item = await getItem(service.catalogue.read, itemAt(params));
  await getPoint(service.catalogue.read, item.id, params.point);
}

type PointToShow = { readonly vault: VaultName; readonly item: Item; readonly point: Point };

function pointToWire(site: Site, { vault, item, point }: PointToShow) {
  const vm = { group: item.vmGroup, name: item.vmName };
  const { disks, excluded } = point.facts;
  return {
    id: `${itemId(site, vault, vm)}/recoveryPoints/${point.id}`,
    name: point.id,
    type: `${ITEM_TYPE}/recoveryPoints`,
    properties: {
      objectType: 'IaasVMRecoveryPoint',
      recoveryPointType: point.consistency,
      recoveryPointTime: new Date(point.takenAt).toISOString(),
      recoveryPointAdditionalInfo: additionalInfo(point),
      sourceVMStorageType: 'NormalStorage',
      isSourceVMEncrypted: false,
      isInstantIlrSessionActive: false,
      recoveryPointTierDetails: [{ type: 'HardenedRP', status: 'Valid' }],
      isManagedVirtualMachine: true,
      virtualMachineSize: VM_SIZE,
      originalStorageAccountOption: false,
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: disks.length,
        numberOfDisksAttachedToVm: disks.length + excluded.length,
        includedDiskList: disks.map(diskToWire),
        excludedDiskList: excluded.map(diskToWire),
      },
      zones: [],
      recoveryPointMoveReadinessInfo: {
        ArchivedRP: { isReadyForMove: false, additionalInfo: 'Holdfast has no archive tier.' },
      },
      recoveryPointProperties: {
        ...(point.expiresAt === undefined
          ? {}
          : { expiryTime: new Date(point.expiresAt).toISOString() }),
        isSoftDeleted: item.state === 'SoftDeleted',
      },
      isPrivateAccessEnabledOnAnyDisk: false,
    },
  };
}

/** Azure gives the system disk the LUN -1. */
function diskToWire({ name, lun }: { readonly name: string; readonly lun?: number | undefined }) {
  return { lun: lun ?? -1, name };
}

/** What each disk has of its own, for people; the figures are in bytes (M30). */
function additionalInfo({ origin, facts }: Point): string {
  const disks = facts.disks.map(
    ({ name, sizeBytes, changedBytes, storedBytes }) =>
      `${name}: size ${sizeBytes}, changed ${changedBytes}, stored ${storedBytes}`,
  );
  return [`origin ${origin}`, ...disks].join('; ');
}
