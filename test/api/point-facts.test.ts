/** What points tell of their VM, in Azure's model, and items of their newest: what nobody knows is left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#base';
import { expirePoints } from '#backup';
import { examine, updateVault } from '#service';
import { agreePoints } from '../../src/service/items/agree-points.ts';
import { addImages, VAULT } from '../../src/service/testing/test-service.ts';
import { agedApi } from './aged-api.ts';
import { backupLab } from './backup-lab.ts';

const DAY_MS = 86_400_000;

test('a point tells the system of its guest and the security of its boot where they are known', async (t) => {
  const lab = await backupLab(t, (made) => {
    addImages(made, 'web', [{ name: 'a', sizeBytes: 65_536 }]);
  });
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const point = async () => (await lab.points('web'))[0]!.point;
  const { osType, securityType, zones, keyAndSecret, ...known } = await point();
  assert.deepEqual(
    [osType, securityType, zones, keyAndSecret],
    [undefined, undefined, undefined, undefined],
  );
  assert.deepEqual(
    [
      known.isSourceVMEncrypted,
      known.isManagedVirtualMachine,
      known.originalStorageAccountOption,
      known.isInstantIlrSessionActive,
      known.recoveryPointTierDetails,
    ],
    [false, true, false, false, [{ type: 'HardenedRP', status: 'Valid' }]],
  );
  const { read } = lab.service.catalogue;
  const { facts } = await read.selectFrom('points').select('facts').executeTakeFirstOrThrow();
  const guest = { ...JSON.parse(facts), osFamily: 'windows', isTrustedLaunch: true };
  await lab.service.catalogue.change(async (change) => {
    await change
      .updateTable('points')
      .set({ facts: JSON.stringify(guest) })
      .execute();
  });
  const told = await point();
  assert.deepEqual([told.osType, told.securityType], ['Windows', 'TrustedLaunch']);
});

for (const how of ['by the API, as the clock was set back', 'with the plumbing'] as const) {
  test(`an item whose newest point was deleted by hand, ${how}, tells the time of the one that is the newest now`, async (t) => {
    const clock = new FakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const api = await agedApi(t, { clock });
    const told = async () => (await api.call('GET', api.item)).body.properties.lastRecoveryPoint;
    assert.equal(await told(), undefined);
    for (let point = 0; point < 2; point += 1) await api.vm.nextScheduled();
    const ids = await api.vm.pointIds();
    const times = (await api.vm.points()).map(({ point }) => new Date(point.takenAt).toISOString());
    assert.equal(await told(), times[1]);
    if (how === 'with the plumbing') {
      const { vaultId } = await api.vm.item();
      await api.vm.service.repositories.use(vaultId, async ({ parts }) => {
        await expirePoints(parts, [ids[1]!]);
      });
      await agreePoints(api.vm.service, vaultId);
    } else {
      await updateVault(api.vm.service, VAULT, { settings: { softDelete: 'Disabled' } });
      clock.jump(-DAY_MS / 2);
      const { body } = await api.call('POST', `${api.ownItem}/recoveryPoints/${ids[1]}/delete`);
      assert.equal((await api.vm.ended(body.jobId)).status, 'Completed', JSON.stringify(body));
    }
    assert.deepEqual(await api.vm.pointIds(), [ids[0]]);
    assert.equal(await told(), times[0]);
    const errors = (await examine(api.vm.service)).filter(({ severity }) => severity === 'error');
    assert.deepEqual(errors, []);
  });
}
