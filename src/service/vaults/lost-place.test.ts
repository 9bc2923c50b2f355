/** Nothing of a vault is removed because its repository is not where it was: a disk is not mounted, a folder moved. */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { backUpNow } from '../backing-up/start-backup.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { putHost } from '../hosts/hosts.ts';
import { examine } from '../doctor/doctor.ts';
import { getItem } from '../items/items.ts';
import { protect } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import { addImages, endOf, GROUP, testService, VAULT } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { createVault } from './create-vault.ts';
import { listVaults } from './vaults.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

type Site = {
  readonly made: TestService;
  readonly folder: string;
  readonly pointIds: () => Promise<readonly string[]>;
  readonly errors: () => Promise<string>;
  readonly loseCatalogue: (data?: string) => void;
};

/** A vault with one point. */
async function site(t: TestContext, repository?: (made: TestService) => string): Promise<Site> {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  const service = made.service();
  await putHost(service, { name: GROUP, uri: `images:${made.images}` });
  await discoverHost(service, GROUP);
  const vault = { ...VAULT, tags: {}, settings: {}, repository: repository?.(made) };
  const { id } = await createVault(service, vault);
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  const { jobId } = await backUpNow(service, NAME, undefined);
  await endOf(service, id, jobId);
  return {
    made,
    folder: join(made.data, 'vaults', id),
    pointIds: async () => {
      const { read } = made.service().catalogue;
      return (await listPoints(read, (await getItem(read, NAME)).id)).map((point) => point.id);
    },
    errors: async () =>
      (await examine(made.service()))
        .filter(({ severity }) => severity === 'error')
        .map(({ where, what }) => `${where}: ${what}`)
        .join('\n'),
    loseCatalogue: (data = made.data) => {
      for (const end of ['', '-wal', '-shm']) {
        rmSync(join(data, `catalogue.db${end}`), { force: true });
      }
    },
  };
}

test('without catalogue, and the repository not mounted: the sealed key stays, the doctor tells, and the vault comes back', async (t) => {
  let outside = '';
  const { made, folder, pointIds, errors, loseCatalogue } = await site(t, ({ data }) => {
    outside = join(data, '..', 'outside');
    return outside;
  });
  const expected = await pointIds();
  await made.service().close();
  loseCatalogue();
  renameSync(outside, `${outside}.away`);
  for (const _ of ['once', 'again']) {
    await made.restart();
    assert.deepEqual(readdirSync(folder), ['vault.json']);
    assert.deepEqual(await listVaults(made.service().catalogue.read), []);
    assert.match(await errors(), /vaults\/.*catalogue does not have.*no folder .*outside/);
  }
  renameSync(`${outside}.away`, outside);
  assert.equal(await errors(), '');
  assert.deepEqual(await pointIds(), expected);
});

for (const what of ['with its catalogue', 'without catalogue'] as const) {
  test(`a data folder at another path, ${what}: vaults find their repositories beside their keys, not the old ones`, async (t) => {
    const { made, folder, pointIds, errors, loseCatalogue } = await site(t);
    const expected = await pointIds();
    await made.service().close();
    const moved = join(made.data, '..', 'moved');
    cpSync(made.data, moved, { recursive: true });
    if (what === 'without catalogue') loseCatalogue(moved);
    else renameSync(made.data, `${made.data}.old`);
    await made.restart(moved);
    const { read } = made.service().catalogue;
    const [vault] = await listVaults(read);
    assert.equal(vault!.repository, join(moved, 'vaults', vault!.id, 'repository'));
    assert.deepEqual(await pointIds(), expected);
    assert.equal(await errors(), '');
    if (what === 'without catalogue') assert.ok(existsSync(join(folder, 'repository', 'log')));
  });
}

test('what a kill left of a vault that was being made goes with the next start; nothing else does', async (t) => {
  const { made, folder, pointIds, errors } = await site(t);
  const expected = await pointIds();
  const [before, key] = [
    '11111111-2222-4333-8444-555555555555',
    '21111111-2222-4333-8444-555555555555',
  ];
  await made.service().close();
  for (const id of [before, key]) {
    mkdirSync(join(folder, '..', id));
    writeFileSync(join(folder, '..', id, 'unfinished'), '');
  }
  const other = join(folder, '..', key, 'vault.json');
  cpSync(join(folder, 'vault.json'), other);
  await made.restart();
  // Its key is of another vault, so it cannot be looked into: it stays.
  assert.deepEqual(readdirSync(join(folder, '..')).includes(before), false);
  assert.ok(existsSync(other));
  assert.deepEqual(await pointIds(), expected);
  assert.match(await errors(), new RegExp(key));
  assert.equal(existsSync(join(folder, 'unfinished')), false);
});
