import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { examine } from '../doctor/doctor.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { putHost } from '../hosts/hosts.ts';
import { deletePolicy, listPolicies, putPolicy } from '../policies/policies.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { addImages, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import { getItem } from './items.ts';
import { deleteData, protect, stopRetaining, undelete } from './protect.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

test('R54 a stopped item is resumed by the policy that it had: after soft delete, and with a lost catalogue too', async (t) => {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 4096 }]);
  await withVault(made);
  const policyName = async (): Promise<string | undefined> => {
    const { read } = made.service().catalogue;
    const { policyId } = await getItem(read, NAME);
    return (await listPolicies(read, VAULT)).find(({ id }) => id === policyId)?.name;
  };
  const nightly = { vault: VAULT, name: 'nightly' };
  await putPolicy(made.service(), nightly, {
    draft: { ...defaultPolicy('02:00'), timeZone: 'UTC' },
  });
  await protect(made.service(), NAME, { policy: 'nightly' });
  await stopRetaining(made.service(), NAME);
  assert.equal(await policyName(), undefined);
  await protect(made.service(), NAME, {});
  assert.equal(await policyName(), 'nightly');

  await deleteData(made.service(), NAME);
  await made.service().close();
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(made.data, `catalogue.db${end}`), { force: true });
  const service = await made.restart();
  await putHost(service, { name: GROUP, uri: `images:${made.images}` });
  await discoverHost(service, GROUP);
  await undelete(service, NAME);
  await protect(service, NAME, {});
  assert.equal(await policyName(), 'nightly');
  const errors = (await examine(service)).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);

  await stopRetaining(service, NAME);
  assert.equal(await deletePolicy(service, nightly), true);
  await assert.rejects(protect(service, NAME, {}), (error) => {
    assert.ok(isHoldfastError(error, 'BMSUserErrorPolicyNotFound'));
    assert.match(error.message, /'lab\/web' had is deleted: name one; 'v1' has DefaultPolicy\./);
    return true;
  });
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  assert.equal(await policyName(), 'DefaultPolicy');
});
