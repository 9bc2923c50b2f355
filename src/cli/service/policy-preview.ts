/**
 * `holdfast policy preview`: when a policy would start backups; with a change of it, or with a VM that would get it,
 * also what that would do to recovery points, and how many bytes it would free.
 */
import { instant } from '../arguments/dates.ts';
import { formatTable, left } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import { fullName } from './names.ts';
import { inOptions } from './policy-faults.ts';
import { findPolicy, pathOf, saysPolicy, wanted, type PolicyChange } from './policies.ts';
import { findItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export type PreviewOptions = PolicyChange & {
  readonly count: number;
  readonly since?: string;
  readonly vm?: string;
};

type Run = {
  readonly time: string;
  readonly localTime: string;
  readonly policyDate: string;
  readonly isLastOfPolicyDay: boolean;
};

type PointState = {
  readonly fate: 'Kept' | 'SoftDeleted' | 'Removed';
  readonly keptBy: string;
  readonly expiryTime?: string;
};

export type Preview = {
  readonly points: {
    readonly kept: number;
    readonly softDeleted: number;
    readonly removed: number;
  };
  readonly freedBytes: number;
  readonly softDeletedBytes: number;
  /** Of an immutable vault: the change would be refused. */
  readonly refusal?: { readonly code: string; readonly message: string };
  readonly value: readonly {
    readonly vm: { readonly resourceGroup: string; readonly name: string };
    readonly recoveryPoints: readonly (PointState & {
      readonly name: string;
      readonly time: string;
      readonly before: PointState;
    })[];
  }[];
};

/** @throws {UsageError} for a VM without a policy's name, or with a change of the policy. */
export async function previewPolicy(
  context: ServiceContext,
  name: string | undefined,
  options: PreviewOptions,
): Promise<void> {
  const { vm, ...of } = options;
  if (vm !== undefined) await previewSwitch(context, name, { ...of, vm });
  else await previewChange(context, name, of);
}

async function previewSwitch(
  { service, terminal }: ServiceContext,
  name: string | undefined,
  options: PreviewOptions & { readonly vm: string },
): Promise<void> {
  if (name === undefined) throw new UsageError('--vm needs the name of a policy');
  const { vm, vault } = options;
  if (saysPolicy(options))
    throw new UsageError('--vm shows a policy as it is: give no option of one');
  const item = await findItem(service, vm, vault);
  const body = {
    change: 'PolicySwitch',
    vm: { resourceGroup: item.vm.group, name: item.vm.name },
    policy: name,
  };
  const points = (await service.http.json('POST', `${ownVault(service, item.vault)}/previews`, {
    body,
  })) as Preview;
  terminal.result({ points }, () => pointsText(points));
}

async function previewChange(
  { service, terminal }: ServiceContext,
  name: string | undefined,
  { count, since, ...change }: PreviewOptions,
): Promise<void> {
  const asked = { count, ...(since === undefined ? {} : { from: instant('--since', since) }) };
  if (name === undefined) {
    const properties = await wanted(change);
    const runs = await inOptions(
      change,
      async () => await runsOf(service, { properties, ...asked }),
    );
    terminal.result({ runs }, () => runsText(runs));
    return;
  }
  const { vault, policy } = await findPolicy(service, name, change.vault);
  if (!saysPolicy(change)) {
    const at = `${own(pathOf(service, vault, policy.name))}/previewRuns`;
    const { value: runs } = (await service.http.json('POST', at, { body: asked })) as Runs;
    terminal.result({ runs }, () => runsText(runs));
    return;
  }
  const properties = await wanted(change, policy.properties);
  const runs = await inOptions(change, async () => await runsOf(service, { properties, ...asked }));
  const points = await previewEdit(service, { vault, policy: policy.name, properties });
  terminal.result({ runs, points }, () => `${runsText(runs)}\n\n${pointsText(points)}`);
}

/** What a change of the policy would do to its points. */
export async function previewEdit(
  service: Service,
  of: {
    readonly vault: Parameters<typeof pathOf>[1];
    readonly policy: string;
    readonly properties: unknown;
  },
): Promise<Preview> {
  const { vault, policy, properties } = of;
  const body = { change: 'PolicyEdit', policy, properties };
  return (await service.http.json('POST', `${ownVault(service, vault)}/previews`, {
    body,
  })) as Preview;
}

type Runs = { readonly value: readonly Run[] };

async function runsOf(service: Service, body: object): Promise<readonly Run[]> {
  const at = `${service.root}/providers/Holdfast.Backup/previewRuns`;
  return ((await service.http.json('POST', at, { body })) as Runs).value;
}

function ownVault(service: Service, vault: Parameters<typeof pathOf>[1]): string {
  return own(pathOf(service, vault)).replace(/\/backupPolicies$/, '');
}

function own(path: string): string {
  return path.replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
}

function runsText(runs: readonly Run[]): string {
  return formatTable(
    [left('TIME THERE'), left('TIME HERE')],
    runs.map(({ localTime, time }) => [localTime, shortTime(time)]),
  );
}

/** The points that change, and what that comes to. */
function pointsText({ points, freedBytes, softDeletedBytes, refusal, value }: Preview): string {
  const changed = value.flatMap(({ vm, recoveryPoints }) =>
    recoveryPoints
      .filter((point) => stateText(point) !== stateText(point.before))
      .map((point) => [
        fullName({ group: vm.resourceGroup, name: vm.name }),
        point.name,
        shortTime(point.time),
        stateText(point.before),
        stateText(point),
      ]),
  );
  const table = formatTable(
    [left('VM'), left('POINT'), left('TAKEN'), left('NOW'), left('THEN')],
    changed,
  );
  const { kept, softDeleted, removed } = points;
  const sums = [
    `${formatCount(kept, 'point')} kept`,
    `${softDeleted} soft-deleted (${formatBytes(softDeletedBytes)} when they go)`,
    `${removed} removed by the next clean-up (${formatBytes(freedBytes)})`,
  ];
  const refused =
    refusal === undefined ? '' : `\n\nIt would be refused: ${refusal.message} [${refusal.code}]`;
  const sum = `${sums.join(', ')}.${refused}`;
  return changed.length === 0 ? `No recovery point changes: ${sum}` : `${table}\n\n${sum}`;
}

/** Classes of tags say themselves. */
const KEPT_BY: Readonly<Record<string, string>> = {
  asked: 'as asked for',
  latest: 'newest',
  stopped: 'stopped',
};

function stateText({ fate, keptBy, expiryTime }: PointState): string {
  if (fate === 'Removed') return 'goes';
  const by = KEPT_BY[keptBy] ?? keptBy;
  const until = expiryTime === undefined ? '' : ` until ${shortTime(expiryTime)}`;
  return fate === 'SoftDeleted' ? `soft-deleted${until}` : `${by}${until}`;
}
