/** Consistency groups over the API: made, shown, changed, backed up, deleted; and what their points and jobs say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addImages, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab } from './backup-lab.ts';

const threeVms = (made: TestService): void => {
  for (const vm of ['web', 'db', 'mail']) addImages(made, vm, [{ name: 'a', sizeBytes: 1 << 18 }]);
};

test('a group is made, changed under a condition, backed up and deleted', async (t) => {
  const lab = await backupLab(t, threeVms);
  for (const vm of ['web', 'db', 'mail']) await lab.protect(vm);
  const groups = `${lab.group}/providers/Holdfast.Backup/vaults/v1/consistencyGroups`;
  const shop = `${groups}/shop`;
  const bodyOf = (...vms: readonly string[]) => ({
    properties: { virtualMachineIds: vms.map((vm) => lab.vmId(vm)) },
  });
  const made = await lab.call('PUT', shop, bodyOf('web', 'db'));
  assert.equal(made.status, 200, JSON.stringify(made.body));
  assert.deepEqual(made.body.properties.virtualMachineIds, [lab.vmId('web'), lab.vmId('db')]);
  assert.deepEqual((await lab.call('GET', shop.toUpperCase())).body, made.body);
  assert.deepEqual((await lab.call('GET', groups)).body.value, [made.body]);

  const policyId = `${lab.vault}/backupPolicies/DefaultPolicy`;
  const withPolicy = { properties: { ...bodyOf('db', 'web').properties, policyId } };
  const changed = await lab.call('PUT', shop, withPolicy);
  assert.equal(changed.body.properties.policyId, policyId);
  assert.notEqual(changed.body.etag, made.body.etag);
  assert.equal(changed.body.properties.groupId, made.body.properties.groupId);

  const begun = await lab.call('POST', `${shop}/backup`, {
    properties: {
      recoveryPointExpiryTimeInUTC: new Date(Date.now() + 5 * 86_400_000).toISOString(),
    },
  });
  assert.equal(begun.status, 202, JSON.stringify(begun.body));
  const status = new URL(String(begun.headers['azure-asyncoperation']));
  const operation = status.pathname.split('/').at(-1)!;
  const told = await lab.call('GET', `${lab.vault}/backupOperations/${operation}`);
  const job = await lab.ended(told.body.properties.jobId as string);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.equal(job.operation, 'GroupBackup');
  assert.equal(job.entityFriendlyName, 'shop');
  assert.deepEqual(
    job.extendedInfo!.tasksList!.map(({ taskId }) => taskId),
    ['Take Snapshot', 'Transfer data to vault: db', 'Transfer data to vault: web'],
  );
  const points = await Promise.all(
    ['db', 'web'].map(async (vm) => {
      const { body } = await lab.call('GET', `${lab.itemPath(vm)}/recoveryPoints`);
      assert.equal(body.value.length, 1);
      return body.value[0];
    }),
  );
  const [db, web] = points;
  assert.deepEqual(db.properties.recoveryPointProperties.consistencyGroup, {
    id: made.body.properties.groupId,
    points: [
      { item: 'lab/db', point: db.name },
      { item: 'lab/web', point: web.name },
    ],
  });
  assert.equal(db.properties.recoveryPointTime, web.properties.recoveryPointTime);

  assert.equal((await lab.call('DELETE', shop)).status, 200);
  assert.equal((await lab.call('DELETE', shop)).status, 204);
  assert.equal((await lab.call('GET', shop)).status, 404);
  const { body: left } = await lab.call('GET', `${lab.itemPath('db')}/recoveryPoints`);
  assert.equal(left.value.length, 1, 'the points stay');
});

test('what is no group is refused before anything is made', async (t) => {
  const lab = await backupLab(t, threeVms);
  await lab.protect('web');
  await lab.protect('db');
  const groups = `${lab.group}/providers/Holdfast.Backup/vaults/v1/consistencyGroups`;
  const put = async (name: string, properties: object) => {
    const { status, body } = await lab.call('PUT', `${groups}/${name}`, { properties });
    return [status, body.error?.code];
  };
  const ids = (...vms: readonly string[]) => vms.map((vm) => lab.vmId(vm));
  const refusals: readonly [object, number, string][] = [
    [{ virtualMachineIds: ids('web') }, 400, 'ConsistencyGroupInvalid'],
    [{ virtualMachineIds: ids('web', 'web') }, 400, 'ConsistencyGroupInvalid'],
    [{ virtualMachineIds: ids('web', 'mail') }, 404, 'BMSUserErrorProtectedItemNotFound'],
    [{ virtualMachineIds: [lab.vault, lab.vault] }, 400, 'InvalidRequestContent'],
    [{}, 400, 'InvalidRequestContent'],
    [
      { virtualMachineIds: ids('web', 'db'), policyId: `${lab.vault}/backupPolicies/none` },
      404,
      'BMSUserErrorPolicyNotFound',
    ],
  ];
  for (const [properties, status, code] of refusals) {
    assert.deepEqual(await put('g', properties), [status, code], JSON.stringify(properties));
  }
  assert.deepEqual(await put('a%2Fb', { virtualMachineIds: ids('web', 'db') }), [
    400,
    'InvalidResourceName',
  ]);
  const none = await lab.call('POST', `${groups}/g/backup`);
  assert.deepEqual([none.status, none.body.error.code], [404, 'ResourceNotFound']);
  assert.deepEqual((await lab.call('GET', groups)).body.value, []);
});
