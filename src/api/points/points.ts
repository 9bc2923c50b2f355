/** Microsoft.RecoveryServices/…/recoveryPoints */
import { z } from 'zod';
import {
  getItem,
  getPoint,
  getShownPoint,
  getVault,
  shownPoints,
  type Item,
  type ShownPoint,
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

const OS_TYPE = { linux: 'Linux', windows: 'Windows' } as const;

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
      const all = await shownPoints(service.catalogue.read, item, service.clock.nowMs());
      // Azure's list shows soft-deleted points where they are asked for.
      const withDeleted = filter.get('includeSoftDeletedRP')?.toLowerCase() === 'true';
      const points = all.filter(
        ({ point: { takenAt }, plan }) =>
          takenAt >= (from ?? -Infinity) &&
          takenAt <= (to ?? Infinity) &&
          (withDeleted || plan.fate !== 'softDeleted'),
      );
      const isNoneReady = filter.get('moveReadyRPOnly')?.toLowerCase() === 'true';
      const kind = (filter.get('restorePointQueryType') ?? 'All').toLowerCase();
      // Every point of a VM is full; there is no archive that one could move to.
      const chosen = !isNoneReady && (kind === 'all' || kind === 'full') ? points : [];
      return listAnswer(
        request,
        chosen.map((shown) => pointToWire(request, { vault, item, shown })),
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
      const shown = await getShownPoint(request.service, item, params.point);
      return ok(pointToWire(request, { vault, item, shown }));
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

type PointToShow = { readonly vault: VaultName; readonly item: Item; readonly shown: ShownPoint };

function pointToWire(site: Site, { vault, item, shown }: PointToShow) {
  const { point, plan } = shown;
  const vm = { group: item.vmGroup, name: item.vmName };
  const { disks, excluded, osFamily, isTrustedLaunch, group } = point.facts;
  return {
    id: `${itemId(site, vault, vm)}/recoveryPoints/${point.id}`,
    name: point.id,
    type: `${ITEM_TYPE}/recoveryPoints`,
    properties: {
      objectType: 'IaasVMRecoveryPoint',
      recoveryPointType: point.consistency,
      recoveryPointTime: new Date(point.takenAt).toISOString(),
      recoveryPointAdditionalInfo: additionalInfo(shown),
      sourceVMStorageType: 'NormalStorage',
      isSourceVMEncrypted: false,
      isInstantIlrSessionActive: false,
      recoveryPointTierDetails: [{ type: 'HardenedRP', status: 'Valid' }],
      isManagedVirtualMachine: true,
      virtualMachineSize: VM_SIZE,
      originalStorageAccountOption: false,
      ...(osFamily === undefined ? {} : { osType: OS_TYPE[osFamily] }),
      ...(isTrustedLaunch === true ? { securityType: 'TrustedLaunch' } : {}),
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: disks.length,
        numberOfDisksAttachedToVm: disks.length + excluded.length,
        includedDiskList: disks.map(diskToWire),
        excludedDiskList: excluded.map(diskToWire),
      },
      recoveryPointMoveReadinessInfo: {
        ArchivedRP: { isReadyForMove: false, additionalInfo: 'Holdfast has no archive tier.' },
      },
      recoveryPointProperties: {
        ...(plan.expiresAt === undefined
          ? {}
          : { expiryTime: new Date(plan.expiresAt).toISOString() }),
        ...(group === undefined ? {} : { consistencyGroup: group }),
        ...(tagsText(plan) === '' ? {} : { ruleName: tagsText(plan) }),
        isSoftDeleted: item.state === 'SoftDeleted' || plan.fate === 'softDeleted',
      },
      isPrivateAccessEnabledOnAnyDisk: false,
    },
  };
}

/** The classes that keep it, in Azure's words: `Daily, Monthly`. */
function tagsText({ tags }: ShownPoint['plan']): string {
  const kept = tags.filter(({ until }) => until !== undefined);
  return kept.map(({ class: of }) => of.charAt(0).toUpperCase() + of.slice(1)).join(', ');
}

/** Azure gives the system disk the LUN -1. */
function diskToWire({ name, lun }: { readonly name: string; readonly lun?: number | undefined }) {
  return { lun: lun ?? -1, name };
}

/** What each disk has of its own, for people; the figures are in bytes (M30). */
function additionalInfo({ point: { origin, facts }, plan }: ShownPoint): string {
  const disks = facts.disks.map(
    ({ name, sizeBytes, changedBytes, storedBytes }) =>
      `${name}: size ${sizeBytes}, changed ${changedBytes}, stored ${storedBytes}`,
  );
  const { id: group, points = [] } = facts.group ?? {};
  const together = points.map(({ item, point: of }) => `${item} ${of}`).join(', ');
  const instant = group === undefined ? [] : [`group ${group} at one instant: ${together}`];
  return [`origin ${origin}`, ...disks, ...instant, `kept by ${plan.keptBy}`].join('; ');
}
