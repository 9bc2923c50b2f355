/** The reserve of a full repository is for what frees space in it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { expirePoints } from '#backup';
import { getItem } from '../items/items.ts';
import { deleteData } from '../items/protect.ts';
import type { Service } from '../service.ts';
import { WEB } from '../testing/aged-vm.ts';
import { backedUpVm } from '../testing/backed-up-vm.ts';
import { fillDisk, onOwnDisk } from '../testing/own-disk.ts';
import { freeingSpace } from './freeing-space.ts';

/** A backed-up VM in a vault whose repository lies on a disk without a free byte; `use` ends before it is gone. */
async function onFullDisk(
  t: TestContext,
  use: (full: {
    readonly service: Service;
    readonly vaultId: string;
    readonly repository: string;
  }) => Promise<void>,
): Promise<void> {
  const { made, item } = await backedUpVm(t);
  const { vaultId } = item;
  const service = made.service();
  await onOwnDisk(made, vaultId, async (repository) => {
    fillDisk(repository);
    await use({ service, vaultId, repository });
  });
}

test('on a full disk others are refused and the reserve stays; what frees space gets it, also beside them', async (t) => {
  await onFullDisk(t, async ({ service, vaultId, repository }) => {
    const { repositories } = service;
    const hasReserve = (): boolean => existsSync(join(repository, 'reserve'));
    const other = async () => await repositories.use(vaultId, async () => undefined);
    await assert.rejects(other(), { code: 'StoreFull' });
    assert.ok(hasReserve());
    const refused = assert.rejects(other(), { code: 'StoreFull' });
    const expired = await freeingSpace(service, vaultId, async ({ parts, state }) => {
      assert.ok(!hasReserve());
      return await expirePoints(parts, [...state.points.keys()]);
    });
    await refused;
    assert.equal(expired.points.length, 1);
  });
});

test('on a full disk a VM can be given up: its deletion is accepted', async (t) => {
  await onFullDisk(t, async ({ service }) => {
    await deleteData(service, WEB);
    assert.equal((await getItem(service.catalogue.read, WEB)).state, 'SoftDeleted');
  });
});
