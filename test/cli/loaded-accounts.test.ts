/** Restores by command where storage accounts are idle or loaded; the service is in this process, its queue stands. */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { putStorageAccount } from '#service';
import { addImages, GROUP } from '../../src/service/testing/test-service.ts';
import { backupLab } from '../api/backup-lab.ts';
import { run } from './holdfast.ts';

test('M38 a restore by command takes an idle storage account and says which, and warns of a loaded one', async (t) => {
  const lab = await backupLab(
    t,
    (made) => void addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 20 }]),
    { settings: { restoresPerStorageAccount: 0 } },
  );
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const restore = async (...args: string[]) => {
    const variables = { HOLDFAST_DATA: lab.made.data };
    const all = ['restore', 'web', '--no-wait', '--json', ...args];
    const { code, stdout, stderr } = await run(all, { variables, password: null });
    assert.equal(code, 0, stderr);
    const { properties, storageAccount } = JSON.parse(stdout);
    assert.equal(properties['Target Storage Account Name'], storageAccount.name);
    return { stderr, name: storageAccount.name, warning: storageAccount.warning };
  };
  // The only one there is: nothing is to be chosen, nor said.
  assert.deepEqual(await restore(), { stderr: '', name: 'sa1', warning: null });
  const path = join(dirname(lab.made.data), 'other');
  await putStorageAccount(lab.service, { group: GROUP, name: 'sa2', path });
  const loaded = `The storage account 'sa1' is loaded: a restore there waits behind 1 restore, of which 0 may run at once; 'sa2' is idle and has room.`;
  assert.deepEqual(await restore('--storage-account', 'sa1'), {
    stderr: `holdfast: warning: ${loaded}\n`,
    name: 'sa1',
    warning: loaded,
  });
  assert.deepEqual(await restore(), {
    stderr: `Of 2 storage accounts ${GROUP}/sa2 is taken: ${path}\n`,
    name: 'sa2',
    warning: null,
  });
  const variables = { HOLDFAST_DATA: lab.made.data };
  const { stdout } = await run(['storage-account', 'list'], { variables, password: null });
  assert.match(stdout, /^sa1 +lab +2, 0 at once +\d[^/]*iB +\/.*restored$/m);
  assert.match(stdout, /^sa2 +lab +1, 0 at once +\d[^/]*iB +\/.*other$/m);
});
