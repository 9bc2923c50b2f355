/** Compares what the API shows with what the model says: items, points, what they hold, previews, charges. */
import assert from 'node:assert/strict';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { DAY_MS } from './calendar.ts';
import type { ModelCharges } from './charges.ts';
import type { Model } from './model.ts';
import { fateOf, ruleNames, type ModelItem, type ModelPoint } from './rules.ts';
import { assertBytes, assertFreed } from './storage.ts';
import { bytesOf, type World } from './world.ts';

type Compared = { readonly world: World; readonly model: Model };

/** A point as a list or a preview tells of it. */
type Told = {
  readonly name: string;
  readonly fate: string;
  readonly by: string;
  readonly expiry: string | undefined;
};

export async function assertItems({ world, model }: Compared): Promise<void> {
  const { value } = await world.get(`${world.vaultPath}/backupProtectedItems`);
  const seen = value.map(({ properties }: AnyJson) => ({
    vm: properties.friendlyName,
    state: properties.protectionState,
    policy: properties.policyName,
    lastBackup: properties.lastBackupStatus,
    deletedAt: properties.deferredDeleteTimeInUTC,
  }));
  const expected = Array.from(model.items.values(), (item) => ({
    vm: item.vm,
    state: item.state === 'SoftDeleted' ? 'ProtectionStopped' : item.state,
    policy: item.policy ?? '',
    lastBackup: item.lastBackup,
    deletedAt: item.deletedAt === undefined ? undefined : iso(item.deletedAt),
  }));
  const byVm = (a: { vm: string }, b: { vm: string }): number => (a.vm < b.vm ? -1 : 1);
  assert.deepEqual(seen.toSorted(byVm), expected.toSorted(byVm));
}

export async function assertGroups({ world, model }: Compared): Promise<void> {
  const { value } = await world.get(world.groupPath());
  const seen = value.map(({ name, properties }: AnyJson) => ({
    name,
    members: properties.virtualMachineIds,
    policy: properties.policyId?.split('/').at(-1),
    lastRun: properties.lastRunTime,
  }));
  const expected = model.groups.list().map(({ name, members, policy, lastRun }) => ({
    name,
    members: members.map(({ vm }) => world.vmId(vm)),
    policy,
    lastRun: lastRun === undefined ? undefined : iso(lastRun),
  }));
  assert.deepEqual(
    seen,
    expected.toSorted((one, other) => (one.name < other.name ? -1 : 1)),
  );
}

/** Soft-deleted ones included; newest first. */
export async function listedPoints(world: World, vm: string): Promise<readonly AnyJson[]> {
  const filter = encodeURIComponent("includeSoftDeletedRP eq 'true'");
  const path = `${world.itemPath(vm)}/recoveryPoints?$filter=${filter}`;
  return (await world.get(path)).value;
}

export async function assertPoints({ world, model }: Compared, item: ModelItem): Promise<void> {
  const seen = (await listedPoints(world, item.vm)).map(({ name, properties }: AnyJson) => {
    const { expiryTime, isSoftDeleted, ruleName } = properties.recoveryPointProperties;
    return {
      name,
      time: properties.recoveryPointTime,
      expiryTime,
      isSoftDeleted,
      ruleName: ruleName ?? '',
      info: infoOf(properties.recoveryPointAdditionalInfo),
    };
  });
  const expected = item.points.map((point) => {
    const { fate, by, date } = fateOf(item, point, model.now);
    return {
      name: point.id,
      time: iso(point.at),
      expiryTime: date === undefined ? undefined : iso(date),
      isSoftDeleted: item.state === 'SoftDeleted' || fate === 'softDeleted',
      ruleName: ruleNames(point.promises),
      info: { origin: point.origin, by },
    };
  });
  const byTime = (a: { time: string; name: string }, b: typeof a): number =>
    `${b.time} ${b.name}` < `${a.time} ${a.name}` ? -1 : 1;
  assert.deepEqual(seen, expected.toSorted(byTime), `points of ${item.vm} at ${iso(model.now)}`);
}

function infoOf(text: string): { origin: string | undefined; by: string | undefined } {
  return {
    origin: /^origin ([\w-]+)/.exec(text)?.[1],
    by: /; kept by (\w+)$/.exec(text)?.[1],
  };
}

/** Read from the repository. */
export async function assertHolds(world: World, { id, content }: ModelPoint): Promise<void> {
  const found = await world.readPoint(id);
  assert.deepEqual([...found.keys()].toSorted(), [...content.keys()].toSorted());
  for (const [disk, tokens] of content) {
    const expected = Buffer.concat(tokens.map(bytesOf));
    assert.ok(found.get(disk)!.equals(expected), `disk ${disk} of the point ${id}`);
  }
}

/** Disks as they were restored, the system disk first. */
export function assertSame(restored: readonly Buffer[], content: ModelPoint['content']): void {
  const expected = Array.from(content.values(), (tokens) => Buffer.concat(tokens.map(bytesOf)));
  assert.deepEqual(
    restored.map((disk) => disk.length),
    expected.map((disk) => disk.length),
  );
  for (const [at, disk] of expected.entries()) assert.ok(restored[at]!.equals(disk), `disk ${at}`);
}

export type Preview = {
  /** The code that it was refused with; then it tells nothing. */
  readonly refusal: string | undefined;
  readonly freedBytes: number;
  readonly softDeletedBytes: number;
  /** By VM, oldest first. */
  readonly told: ReadonlyMap<string, readonly Told[]>;
  readonly removed: ReadonlySet<string>;
};

/** Asks for it, and checks its bytes by the model. */
export async function previewed({ world, model }: Compared, body: object): Promise<Preview> {
  const { status, body: answer } = await world.call('POST', `${world.ownVault}/previews`, body);
  if (status !== 200) {
    const refusal = String(answer.error.code);
    return { refusal, freedBytes: 0, softDeletedBytes: 0, told: new Map(), removed: new Set() };
  }
  const told = new Map<string, Told[]>(
    answer.value.map(({ vm, recoveryPoints }: AnyJson) => [
      vm.name,
      recoveryPoints.map(({ name, fate, keptBy, expiryTime }: AnyJson) => ({
        name,
        fate,
        by: keptBy,
        expiry: expiryTime,
      })),
    ]),
  );
  const all = [...told.values()].flat();
  const named = (...fates: string[]): ReadonlySet<string> =>
    new Set(all.filter(({ fate }) => fates.includes(fate)).map(({ name }) => name));
  const { freedBytes, softDeletedBytes } = answer;
  const removed = named('Removed');
  const points = model.allPoints();
  assertFreed(freedBytes, { all: points, gone: removed, what: 'previewed as removed' });
  assertFreed(freedBytes + softDeletedBytes, {
    all: points,
    gone: named('Removed', 'SoftDeleted'),
    what: 'previewed as removed or soft-deleted',
  });
  return { refusal: undefined, freedBytes, softDeletedBytes, told, removed };
}

/** What the model, changed by now, says of these items is what their preview had said. */
export function assertForetold(model: Model, { told }: Preview): void {
  const fates = { kept: 'Kept', softDeleted: 'SoftDeleted', removed: 'Removed' } as const;
  for (const [vm, foretold] of told) {
    const item = model.items.get(vm)!;
    const now = item.points
      .toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1))
      .map((point) => {
        const { fate, by, date } = fateOf(item, point, model.now);
        const expiry = date === undefined ? undefined : iso(date);
        return { name: point.id, fate: fates[fate], by, expiry };
      });
    assert.deepEqual(foretold, now, `what was previewed of ${vm}`);
  }
}

/** Of these months. */
export async function assertCharges(
  { world, model }: Compared,
  charges: ModelCharges,
  months: readonly string[],
): Promise<void> {
  for (const month of months) {
    const filter = encodeURIComponent(`month eq '${month}'`);
    const { value } = await world.get(`${world.ownVault}/charges?$filter=${filter}`);
    const seen: readonly AnyJson[] = value.map(({ properties: told }: AnyJson) => ({
      told: [
        told.friendlyName,
        told.isDeleted,
        told.chargedDays,
        told.freeDays,
        told.estimatedDays,
        told.protectedInstance.sizeInBytes,
        Math.round(told.protectedInstance.instanceMonths.small * told.daysInMonth),
      ].join(' '),
      bytes: told.storage.storedInBytes,
    }));
    const expected = Array.from(charges.days, ([item, all]) => {
      const days = all.filter(({ day }) => monthOf(day) === month);
      const count = (is: (day: (typeof days)[number]) => boolean): number => days.filter(is).length;
      const charged = count(({ isCharged }) => isCharged);
      return {
        told: [
          item.vm,
          model.items.get(item.vm) !== item,
          charged,
          days.length - charged,
          count(({ isEstimated }) => isEstimated),
          days.at(-1)?.instance,
          charged,
        ].join(' '),
        stored: days.at(-1)?.stored,
      };
    }).filter(({ stored }) => stored !== undefined);
    const byText = (a: { told: string }, b: { told: string }): number => (a.told < b.told ? -1 : 1);
    const sorted = { seen: seen.toSorted(byText), expected: expected.toSorted(byText) };
    assert.deepEqual(
      sorted.seen.map(({ told }) => told),
      sorted.expected.map(({ told }) => told),
      `charges of ${month}`,
    );
    for (const [at, { told, stored }] of sorted.expected.entries()) {
      const what = `stored in ${month} by ${told}`;
      assertBytes(sorted.seen[at]!.bytes, { ...stored!, what });
    }
  }
}

/** The sum over owners is what is live, to the byte. */
export async function assertOwned({ world, model }: Compared): Promise<void> {
  const { repository } = await world.get(`${world.ownVault}/chargeSummary`);
  if (repository === undefined) return;
  // Points of the day that has not ended are not the items' yet.
  const isAllRead = model.allPoints().every(({ at }) => iso(at) < repository.readAt);
  if (isAllRead) assert.equal(repository.ownedInBytes, await world.liveBytes());
  assert.ok(repository.othersInBytes >= 0);
}

export function monthOf(day: number): string {
  return iso(day * DAY_MS).slice(0, 7);
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
