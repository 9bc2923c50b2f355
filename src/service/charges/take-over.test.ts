import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDocument } from '#backup';
import { agedVm } from '../testing/aged-vm.ts';
import { readCharges } from './read-charges.ts';

test('M25 what a reading found outlives a start that takes a document over: days that nobody reads then are as it was', async (t) => {
  const vm = await agedVm(t);
  await vm.backUp();
  await vm.pass(1);
  await readCharges(vm.service);
  const owned = async () =>
    await vm.service.catalogue.read
      .selectFrom('chargedPoints')
      .select(['pointId', 'ownedBytes', 'usedBytes'])
      .execute();
  const before = await owned();
  assert.ok(before.length > 0);
  // As a kill between a document and the catalogue leaves it.
  const { id, vaultId } = await vm.item();
  const document = `item-${id}`;
  const { repositories } = vm.service;
  const value = await repositories.use(
    vaultId,
    async ({ parts }) => await readDocument(parts, document),
  );
  assert.ok(value !== undefined);
  await repositories.remember(vaultId, document, value);
  await vm.made.restart();
  assert.deepEqual(await owned(), before);
});
