/** Retention through the API, on a clock that the test moves: what a policy edit, a switch, an expiry and a deletion do. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { policyToWire } from '../../src/api/policies/policy-to-wire.ts';
import { listActivities } from '../../src/service/activities/activities.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { stopByPolicy, stopRetaining } from '../../src/service/items/protect.ts';
import { discoverHost } from '#service';
import { WEB } from '../../src/service/testing/aged-vm.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from '../../src/service/retention/test-policies.ts';
import { agedApi, type AgedApi } from './aged-api.ts';

const MONTH = policyOf(DAILY, { days: 30, weeks: 12 });
const WEEK = policyOf(DAILY, { days: 7 });
const SUNDAYS = policyOf(weeklyOn('sunday'), { weeks: 12 });

function wireOf(policy: BackupPolicy): object {
  const { protectedItemsCount: _, ...properties } = policyToWire(policy, 0);
  return properties;
}

/** So many days, each with its scheduled backup, of a block that changes every day. */
async function days(api: AgedApi, count: number): Promise<void> {
  for (let day = 0; day < count; day += 1) {
    api.vm.write({ [day % 4]: `day ${day}` });
    const job = await api.vm.nextScheduled();
    assert.equal(job.status, 'Completed', JSON.stringify(job));
  }
  // However long each backup took, whole days have passed.
  api.vm.clock.advance(3_600_000);
}

type Told = { readonly name: string; readonly fate: string; readonly expiryTime?: string };

/** What the list says of each point, soft-deleted ones included; oldest first. */
async function listed(api: AgedApi): Promise<readonly Told[]> {
  const filter = encodeURIComponent("includeSoftDeletedRP eq 'true'");
  const { status, body } = await api.call('GET', `${api.item}/recoveryPoints?$filter=${filter}`);
  assert.equal(status, 200, JSON.stringify(body));
  const points = body.value.map(({ name, properties }: { name: string; properties: never }) => {
    const { expiryTime, isSoftDeleted } = properties['recoveryPointProperties'] as {
      readonly expiryTime?: string;
      readonly isSoftDeleted: boolean;
    };
    const fate = isSoftDeleted ? 'SoftDeleted' : 'Kept';
    return { name, fate, ...(expiryTime === undefined ? {} : { expiryTime }) };
  });
  return points.toReversed();
}

async function preview(api: AgedApi, body: object) {
  const answer = await api.call('POST', `${api.ownVault}/previews`, body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const points: readonly Told[] = answer.body.value.flatMap(
    (one: { readonly recoveryPoints: readonly Told[] }) => one.recoveryPoints,
  );
  const told = points.map(({ name, fate, expiryTime }) => ({
    name,
    fate,
    ...(expiryTime === undefined ? {} : { expiryTime }),
  }));
  return { ...answer.body, told };
}

async function putPolicy(api: AgedApi, policy: BackupPolicy, name = 'P'): Promise<void> {
  const properties = wireOf(policy);
  const { status, body } = await api.call('PUT', `${api.vault}/backupPolicies/${name}`, {
    properties,
  });
  assert.equal(status, 200, JSON.stringify(body));
}

async function softDelete(api: AgedApi, state: 'Enabled' | 'Disabled'): Promise<void> {
  const { status, body } = await api.call('PATCH', `${api.vault}/backupconfig/vaultconfig`, {
    properties: { enhancedSecurityState: state, softDeleteFeatureState: state },
  });
  assert.equal(status, 200, JSON.stringify(body));
}

test('M32 R22 R24 a policy edit does to each point what its preview said; raised again, all are back', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await days(api, 12);
  const before = await listed(api);
  const said = await preview(api, {
    change: 'PolicyEdit',
    policy: 'P',
    properties: wireOf(WEEK),
  });
  assert.deepEqual(await listed(api), before, 'a preview changes nothing');
  await putPolicy(api, WEEK);
  assert.deepEqual(await listed(api), said.told);
  // Of 12 days those of the last seven are kept.
  assert.deepEqual(said.points, { kept: 7, softDeleted: 5, removed: 0 });
  const shown = (await api.call('GET', `${api.item}/recoveryPoints`)).body.value;
  assert.equal(shown.length, 7);
  // One that is soft-deleted can be restored: it is shown by its name.
  const lost = await api.call('GET', `${api.item}/recoveryPoints/${said.told[0].name}`);
  assert.equal(lost.body.properties.recoveryPointProperties.isSoftDeleted, true);
  await putPolicy(api, MONTH);
  assert.deepEqual(await listed(api), before);
});

test('R24 M31 after the days of soft delete the points go, and free what the preview said', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await days(api, 10);
  const properties = wireOf(WEEK);
  const said = await preview(api, { change: 'PolicyEdit', policy: 'P', properties });
  await putPolicy(api, WEEK);
  const suspended = await api.call('PUT', api.item, {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      protectionState: 'BackupsSuspended',
      policyId: `${api.vault}/backupPolicies/P`,
    },
  });
  assert.equal(suspended.status, 202);
  const { liveBytes } = await api.vm.stored();
  assert.ok(said.softDeletedBytes > 0);
  assert.equal(said.freedBytes, 0);
  const gone = said.told.filter(({ fate }: Told) => fate === 'SoftDeleted');
  // Those that it keeps expire by their date on the way there, but for the last.
  await api.vm.pass(13.5);
  const names = async () => (await listed(api)).map(({ name }) => name);
  assert.deepEqual(
    (await names()).slice(0, -1),
    gone.map(({ name }: Told) => name),
  );
  await api.vm.pass(1);
  assert.equal((await names()).length, 1, 'the last one stays (R54)');
  const jobs = await api.vm.jobs('Expire');
  const freed = jobs.reduce((sum, { properties: told }) => sum + Number(told['Bytes freed']), 0);
  assert.equal(freed, liveBytes - (await api.vm.stored()).liveBytes);
});

test('R22 without soft delete a shortened policy removes points at the next clean-up, by hand at once, and frees what the preview said', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await softDelete(api, 'Disabled');
  await days(api, 10);
  const properties = wireOf(WEEK);
  const said = await preview(api, { change: 'PolicyEdit', policy: 'P', properties });
  assert.deepEqual([said.points.removed, said.points.softDeleted], [3, 0]);
  await putPolicy(api, WEEK);
  const now = await preview(api, { change: 'Expire' });
  assert.equal(now.freedBytes, said.freedBytes);
  assert.deepEqual(now.told, said.told);
  const before = await api.vm.stored();
  const expire = await api.call('POST', `${api.ownVault}/expire`);
  assert.equal(expire.status, 202);
  await api.vm.settled();
  const after = await api.vm.stored();
  assert.equal(before.liveBytes - after.liveBytes, said.freedBytes);
  const kept = said.told.filter(({ fate }: Told) => fate === 'Kept');
  assert.deepEqual(await listed(api), kept);
  const [job] = await api.vm.jobs('Expire');
  assert.equal(job!.properties['Bytes freed'], String(said.freedBytes));
  assert.equal(job!.isUserTriggered, true);
});

test('R22 R23 a switch from daily to weekly, and back, does what its preview said', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await api.vm.putPolicy(SUNDAYS, 'sundays');
  await days(api, 9);
  const vm = { resourceGroup: 'lab', name: 'web' };
  const switchTo = async (policy: string) => {
    const said = await preview(api, { change: 'PolicySwitch', vm, policy });
    const properties = {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      policyId: `${api.vault}/backupPolicies/${policy}`,
    };
    const { status, body } = await api.call('PUT', api.item, { properties });
    assert.equal(status, 202, JSON.stringify(body));
    assert.deepEqual(await listed(api), said.told);
    return said;
  };
  // Of nine days one is a Sunday, one the newest.
  const weekly = await switchTo('sundays');
  assert.deepEqual(weekly.points, { kept: 2, softDeleted: 7, removed: 0 });
  const daily = await switchTo('P');
  assert.deepEqual(daily.points, { kept: 9, softDeleted: 0, removed: 0 });
});

test('M33 R58 the preview of stop with delete names every point and all that is stored', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await days(api, 3);
  const { liveBytes } = await api.vm.stored();
  const asked = { change: 'DeleteData', vm: { resourceGroup: 'lab', name: 'web' } };
  const soft = await preview(api, asked);
  assert.deepEqual(soft.points, { kept: 0, softDeleted: 3, removed: 0 });
  assert.deepEqual([soft.freedBytes, soft.softDeletedBytes], [0, liveBytes]);
  const until = new Date(api.vm.clock.nowMs() + 14 * 86_400_000).toISOString();
  assert.equal(soft.value[0].recoveryPoints[0].softDeletedUntil, until);
  await softDelete(api, 'Disabled');
  const hard = await preview(api, asked);
  assert.deepEqual(hard.points, { kept: 0, softDeleted: 0, removed: 3 });
  assert.deepEqual([hard.freedBytes, hard.softDeletedBytes], [liveBytes, 0]);
  assert.equal((await api.call('DELETE', api.item)).status, 202);
  await api.vm.settled();
});

test('R10 R19 of an hourly schedule only the last point of a day is tagged; the others go after the instant-restore days', async (t) => {
  const api = await agedApi(t, { policy: policyOf(HOURLY, { days: 30 }) });
  // What is left of a window that began yesterday, 4 8 12, then 16 20 | 0 4 8 12.
  await days(api, 9);
  const rules = async (): Promise<readonly string[]> => {
    const { value } = (await api.call('GET', `${api.item}/recoveryPoints`)).body;
    const told = value.map(
      ({ properties }: { properties: { recoveryPointProperties: { ruleName: string } } }) =>
        properties.recoveryPointProperties.ruleName,
    );
    return told.toReversed();
  };
  const instant = (count: number): readonly string[] =>
    Array.from({ length: count }, () => 'Instant');
  assert.deepEqual(await rules(), [...instant(2), 'Daily', ...instant(5), 'Daily']);
  await stopByPolicy(api.vm.service, WEB);
  await api.vm.pass(2.5);
  assert.deepEqual(await rules(), ['Daily', 'Daily']);
});

test('R18 R55 a VM that is gone on the tagged day: the next backup that succeeds is the weekly one; its points age, the last stays', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  await days(api, 2);
  const folder = join(api.vm.made.images, 'web');
  renameSync(folder, `${folder}-away`);
  // The 4th of January 2026 is a Sunday.
  while (new Date(api.vm.clock.nowMs()).getUTCDate() < 4) {
    const job = await api.vm.nextScheduled();
    assert.equal(job.failure?.code, 'UserErrorVmNotFoundV2');
  }
  renameSync(`${folder}-away`, folder);
  await discoverHost(api.vm.service, 'lab');
  await days(api, 1);
  const shown = await api.vm.points();
  const seen = shown.map(({ point, plan }) => [
    new Date(point.takenAt).getUTCDate(),
    plan.tags.map((tag) => tag.class).join(),
  ]);
  assert.deepEqual(seen, [
    [1, 'daily'],
    [2, 'daily'],
    [5, 'daily,weekly'],
  ]);
  renameSync(folder, `${folder}-away`);
  await api.vm.pass(31.5);
  assert.deepEqual(await api.vm.pointIds(), [shown[2]!.point.id]);
  await api.vm.pass(400);
  assert.deepEqual(await api.vm.pointIds(), [shown[2]!.point.id]);
});

test('a preview of what cannot be is refused as the change itself', async (t) => {
  const api = await agedApi(t, { policy: MONTH });
  const code = async (body: object) =>
    (await api.call('POST', `${api.ownVault}/previews`, body)).body.error.code;
  const properties = wireOf(policyOf(DAILY, { days: 3 }));
  const edit = { change: 'PolicyEdit', policy: 'P', properties };
  assert.equal(await code(edit), 'UserErrorInvalidRetentionDuration');
  const other = { ...edit, policy: 'none', properties: wireOf(WEEK) };
  assert.equal(await code(other), 'BMSUserErrorPolicyNotFound');
  const vm = { resourceGroup: 'lab', name: 'none' };
  assert.equal(await code({ change: 'DeleteData', vm }), 'BMSUserErrorProtectedItemNotFound');
  assert.equal(await code({ change: 'Nothing' }), 'InvalidRequestContent');
  // A VM that is gone cannot be resumed.
  await stopRetaining(api.vm.service, WEB);
  const folder = join(api.vm.made.images, 'web');
  renameSync(folder, `${folder}-away`);
  await discoverHost(api.vm.service, 'lab');
  const web = { resourceGroup: 'lab', name: 'web' };
  assert.equal(await code({ change: 'PolicySwitch', vm: web, policy: 'P' }), 'ResourceNotFound');
});

test('a point is pinned, extended, deleted, had back; each is in the activity log, and refused where a rule forbids it', async (t) => {
  const api = await agedApi(t, { policy: WEEK });
  await days(api, 3);
  const [first, second, newest] = await api.vm.pointIds();
  const act = async (point: string, action: string, body?: object) =>
    await api.call('POST', `${api.ownItem}/recoveryPoints/${point}/${action}`, body);
  const code = async (point: string, action: string, body?: object) =>
    (await act(point, action, body)).body.error?.code;
  const pinned = await act(first!, 'pin');
  assert.deepEqual([pinned.status, pinned.body.keptBy], [200, 'pinned'], JSON.stringify(pinned));
  assert.equal(await code(first!, 'delete'), 'UserErrorRecoveryPointPinned');
  assert.equal(await code(newest!, 'delete'), 'UserErrorLastRecoveryPoint');
  const day = (count: number): string =>
    new Date(api.vm.clock.nowMs() + count * 86_400_000).toISOString();
  const late = { expiryTime: day(100) };
  assert.equal((await act(second!, 'extend', late)).body.expiryTime, late.expiryTime);
  const code99 = 'UserErrorInvalidRecoveryPointExpiry';
  assert.equal(await code(second!, 'extend', { expiryTime: day(99) }), code99);
  assert.equal(await code(second!, 'extend', { expiryTime: day(40_000) }), code99);
  await days(api, 9);
  const ids = await api.vm.pointIds();
  assert.deepEqual(ids.slice(0, 2), [first, second]);
  assert.ok(!ids.includes(newest!));
  const deleted = await act(second!, 'delete');
  assert.deepEqual([deleted.status, deleted.body.fate], [200, 'softDeleted']);
  for (const action of ['pin', 'delete']) {
    assert.equal(await code(second!, action), 'UserErrorRecoveryPointSoftDeleted');
  }
  assert.equal((await act(second!, 'undelete')).body.fate, 'kept');
  assert.equal(await code(second!, 'undelete'), 'UserErrorRecoveryPointNotDeleted');
  // Unpinned, its rules take it.
  assert.equal((await act(first!, 'unpin')).body.fate, 'removed');
  await api.vm.pass(0.2);
  assert.ok(!(await api.vm.pointIds()).includes(first!));
  // Without soft delete a point goes at once, and is merged.
  await softDelete(api, 'Disabled');
  const before = await api.vm.stored();
  const { jobId } = (await act(second!, 'delete')).body;
  const job = await api.vm.ended(jobId);
  assert.equal(job.properties['Recovery points removed'], '1');
  assert.ok(Number(job.properties['Blocks merged']) > 0);
  const freed = before.liveBytes - (await api.vm.stored()).liveBytes;
  assert.equal(Number(job.properties['Bytes freed']), freed);
  assert.equal((await act(second!, 'pin')).body.error.code, 'BMSUserErrorRecoveryPointNotFound');
  const told = await listActivities(api.vm.service.catalogue.read);
  const ofSecond = told.filter(({ detail }) => (detail as { point?: string }).point === second);
  const acts = ofSecond.map(({ action }) => action);
  assert.match(ofSecond[0]!.target, /^[^/]+\/web$/);
  assert.deepEqual(acts.toReversed(), [
    'extend recovery point',
    'delete recovery point',
    'undelete recovery point',
    'delete recovery point',
  ]);
  assert.ok(
    told.every(({ action, actor }) => !action.endsWith('recovery point') || actor !== 'service'),
  );
});
