import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { AZURE_GUEST_LOAD, DEFAULT_SETTINGS } from './service-settings.ts';
import { readSettings } from './settings-file.ts';
import { testService } from './testing/test-service.ts';

test('settings.json in the data folder is read when the service starts; what is not in it is as always', async (t) => {
  const made = await testService(t);
  assert.equal(made.service().settings.guestLoad, undefined);
  const own = { guestLoad: AZURE_GUEST_LOAD, quotas: { onDemandBackupsPerDay: 9 }, spreadMs: 0 };
  writeFileSync(join(made.data, 'settings.json'), JSON.stringify(own));
  const { settings } = await made.restart();
  assert.deepEqual(
    [settings.guestLoad, settings.quotas, settings.spreadMs],
    [own.guestLoad, own.quotas, 0],
  );
  assert.equal(settings.backupsAtOnce, DEFAULT_SETTINGS.backupsAtOnce);
});

test('all that has a default can be set', async (t) => {
  const path = join((await testService(t)).data, 'settings.json');
  writeFileSync(path, JSON.stringify(DEFAULT_SETTINGS));
  assert.deepEqual(await readSettings(path), { ...DEFAULT_SETTINGS });
});

test('docs/operations.md lists every setting', () => {
  const rows = readFileSync('docs/operations.md', 'utf8').matchAll(/^\| `(\w+)` /gm);
  const known = new Set([...Object.keys(DEFAULT_SETTINGS), 'guestLoad', 'mail']);
  assert.deepEqual(new Set(Array.from(rows, ([, name]) => name)), known);
});

test('what is no setting, or no value of it, keeps the service from starting and is named', async (t) => {
  const made = await testService(t);
  const faults: readonly [string, RegExp][] = [
    ['{ "guestLoad": { "mostShare": 90, "waitMs": 0 } }', /guestLoad\.mostShare: .*1/],
    ['{ "guestLoad": { "mostShare": 0.9 } }', /guestLoad\.waitMs/],
    ['{ "backupsAtOnce": 0 }', /backupsAtOnce/],
    ['{ "gestLoad": {} }', /gestLoad/],
    ['[]', /object/],
    ['{ "mail": { "smtp": "host", "from": "a@b.org", "to": [] } }', /mail\.smtp: .*; mail\.to: /],
    ['{ "spreadMs": 0, }', /no JSON/],
  ];
  for (const [text, named] of faults) {
    writeFileSync(join(made.data, 'settings.json'), text);
    await assert.rejects(made.restart(), (error) => {
      assert.ok(isHoldfastError(error, 'SettingsInvalid'), String(error));
      assert.match(error.message, named);
      assert.match(error.message, /settings\.json/);
      return true;
    });
  }
});
