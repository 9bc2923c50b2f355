/** `holdfast points`: the recovery points of a VM, newest first. */
import type {
  DiskInformation,
  IaasVMRecoveryPoint,
  RecoveryPointResource,
} from '@azure/arm-recoveryservicesbackup';
import { HoldfastError, shellQuoted, type Clock } from '#base';
import { datePast } from '../arguments/dates.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import { findById, fullName } from './names.ts';
import { UsageError } from '../usage-error.ts';
import { FABRIC, findItem, type ServiceItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { isoTime, shortTime } from './time.ts';

export type PointsOptions = {
  readonly vault?: string;
  readonly since?: string;
  readonly until?: string;
};

export async function showPoints(
  { service, terminal }: ServiceContext,
  name: string,
  options: PointsOptions,
): Promise<void> {
  const item = await findItem(service, name, options.vault);
  const points = await listPoints(service, item, filterOf(options, service.clock));
  const vm = fullName(item.vm);
  const isPart = options.since !== undefined || options.until !== undefined;
  const all = isPart && points.length === 0 ? await listPoints(service, item) : points;
  terminal.result({ vm, vault: fullName(item.vault), points }, () => {
    if (all.length === 0) return `${vm} has no recovery points: holdfast backup ${shellQuoted(vm)}`;
    if (points.length === 0) return noneThen(item, options, all);
    const isGrouped = points.some(({ group }) => group !== undefined);
    const table = formatTable(
      [
        left('POINT'),
        left('TAKEN'),
        left('CONSISTENCY'),
        left('ORIGIN'),
        right('ADDED TO REPOSITORY'),
        left('EXPIRES'),
        ...(isGrouped ? [left('SAME INSTANT')] : []),
      ],
      points.map((point) => [
        point.id,
        shortTime(point.takenTime),
        consistencyText(point.consistency),
        point.origin,
        formatBytes(point.stored),
        expiryText(point),
        ...(isGrouped ? [siblingsText(point)] : []),
      ]),
    );
    return `${table}\n\n${formatCount(points.length, 'point')} of ${vm} in ${fullName(item.vault)}.`;
  });
}

/** @param all that there are, newest first. */
function noneThen(
  { vm, vault }: Pick<ServiceItem, 'vm' | 'vault'>,
  { since, until }: PointsOptions,
  all: readonly PointFacts[],
): string {
  const from = since === undefined ? '' : ` from ${since}`;
  const to = until === undefined ? '' : ` until ${until}`;
  const [newest, oldest] = [all[0]!, all.at(-1)!].map((point) => shortTime(point.takenTime));
  const taken = all.length === 1 ? `was taken ${newest}` : `were taken from ${oldest} to ${newest}`;
  return (
    `${fullName(vm)} has no recovery points in ${fullName(vault)} taken${from}${to}; ` +
    `the ${formatCount(all.length, 'point')} there ${all.length === 1 ? 'is' : 'are'} ${taken}.`
  );
}

const CONSISTENCY: Readonly<Record<string, string>> = {
  AppConsistent: 'application-consistent',
  FileSystemConsistent: 'file-system-consistent',
  CrashConsistent: 'crash-consistent',
};

/** `lab/db 123` */
function siblingsText({ id, group }: PointFacts): string {
  const others = (group?.points ?? []).filter((point) => point.id !== id);
  return others.map(({ vm, id: point }) => `${vm} ${point}`).join(', ');
}

/** One that a change of policy, or somebody, deleted softly can be restored until it goes. */
function expiryText({ expiryTime, isSoftDeleted }: PointFacts): string {
  if (expiryTime === undefined) return isSoftDeleted ? 'soft-deleted' : 'never';
  return `${isSoftDeleted ? 'soft-deleted until ' : ''}${shortTime(expiryTime)}`;
}

export function consistencyText(consistency: string): string {
  return CONSISTENCY[consistency] ?? consistency;
}

export type PointFacts = ReturnType<typeof pointFacts>;

const WITH_DELETED = "includeSoftDeletedRP eq 'true'";

/** Newest first; soft-deleted ones too. */
export async function listPoints(
  service: Service,
  { vault, container, item }: Pick<ServiceItem, 'vault' | 'container' | 'item'>,
  filter?: string,
): Promise<readonly PointFacts[]> {
  const { recoveryPoints } = await service.backup();
  const at = [vault.name, vault.group, FABRIC, container, item] as const;
  const options = {
    filter: [WITH_DELETED, ...(filter === undefined ? [] : [filter])].join(' and '),
  };
  return (await service.all(recoveryPoints.list(...at, options))).map(pointFacts);
}

/** By its id, how the id begins, or `latest`: but for what a replacement took before (R68), which is what it was to undo. @throws {HoldfastError} `BMSUserErrorRecoveryPointNotFound`, `NameAmbiguous` */
export async function findPoint(
  service: Service,
  item: ServiceItem,
  text: string,
): Promise<PointFacts> {
  const points = await listPoints(service, item);
  const vm = fullName(item.vm);
  const unknown = (why: string): HoldfastError =>
    new HoldfastError('BMSUserErrorRecoveryPointNotFound', `${vm} has no ${why}`);
  const [latest] = latestOf(points);
  if (latest === undefined)
    throw unknown(`recovery points in ${fullName(item.vault)}: holdfast backup ${shellQuoted(vm)}`);
  if (text === 'latest') return latest;
  if (text === '') {
    throw new UsageError(
      `the point is empty: write its id, how the id begins, or latest; holdfast points ${shellQuoted(vm)} lists them`,
    );
  }
  const found = findById(points, text, 'recovery point');
  if (found !== undefined) return found;
  throw unknown(
    `recovery point ${text} in ${fullName(item.vault)}: holdfast points ${shellQuoted(vm)} lists them`,
  );
}

function latestOf(points: readonly PointFacts[]): readonly PointFacts[] {
  const taken = points.filter(({ origin }) => origin !== 'safety');
  return (taken.length > 0 ? taken : points).slice(0, 1);
}

function pointFacts({ id, name = '', properties }: RecoveryPointResource) {
  const point = (properties ?? {}) as Partial<IaasVMRecoveryPoint>;
  const { recoveryPointAdditionalInfo: about = '', recoveryPointType: consistency = '' } = point;
  const { expiryTime, isSoftDeleted = false } = point.recoveryPointProperties ?? {};
  const { includedDiskList, excludedDiskList } = point.recoveryPointDiskConfiguration ?? {};
  return {
    id: name,
    resourceId: id,
    takenTime: isoTime(point.recoveryPointTime),
    consistency,
    origin: /^origin ([\w-]+)/.exec(about)?.[1] ?? '',
    group: groupIn(about),
    /** What the point added to the repository, in bytes. */
    stored: storedBytes(about),
    expiryTime: isoTime(expiryTime),
    isSoftDeleted,
    disks: disksOf(includedDiskList),
    excludedDisks: disksOf(excludedDiskList),
  };
}

/** The points that were taken at the same instant; undefined: it was taken alone. */
function groupIn(about: string) {
  const [, id, together = ''] = /\bgroup (\S+) at one instant: ([^;]+)/.exec(about) ?? [];
  if (id === undefined) return undefined;
  const points = together.split(', ').map((text) => {
    const at = text.lastIndexOf(' ');
    return { vm: text.slice(0, at), id: text.slice(at + 1) };
  });
  return { id, points };
}

function storedBytes(about: string): number {
  const found = [...about.matchAll(/\bstored (\d+)/g)];
  return found.reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}

function disksOf(disks: readonly DiskInformation[] = []) {
  return disks.map(({ lun, name }) => ({ lun, name }));
}

function filterOf({ since, until }: PointsOptions, clock: Clock): string | undefined {
  const terms = [
    ...(since === undefined ? [] : [`startDate eq '${datePast('--since', since, clock)}'`]),
    ...(until === undefined ? [] : [`endDate eq '${datePast('--until', until, clock)}'`]),
  ];
  return terms.length === 0 ? undefined : terms.join(' and ');
}
