/** What a recovery point tells of the VM that it is of, in Azure's model: what nobody knows is left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addImages } from '../../src/service/testing/test-service.ts';
import { backupLab } from './backup-lab.ts';

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
