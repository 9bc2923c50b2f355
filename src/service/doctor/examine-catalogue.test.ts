import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { backUpNow } from '../backing-up/start-backup.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { putHost } from '../hosts/hosts.ts';
import { getItem } from '../items/items.ts';
import { protect } from '../items/protect.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { examine } from './doctor.ts';
import { JSON_COLUMNS } from './json-columns.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

/** A service with one item of one point. */
async function patient(t: TestContext): Promise<TestService> {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  await protect(made.service(), NAME, { policy: 'DefaultPolicy' });
  const item = await getItem(made.service().catalogue.read, NAME);
  const { jobId } = await backUpNow(made.service(), NAME, undefined);
  await endOf(made.service(), item.vaultId, jobId);
  assert.deepEqual(await errors(made), []);
  return made;
}

async function errors({ service }: TestService): Promise<readonly string[]> {
  return (await examine(service()))
    .filter(({ severity }) => severity === 'error')
    .map(({ where, what, advice }) => `${where}: ${what} -> ${advice}`);
}

/** By another program, with the service's back turned. */
function plant({ data }: TestService, statements: string): void {
  const database = new DatabaseSync(join(data, 'catalogue.db'));
  try {
    database.enableDefensive(false); // Else not even a test may write the schema.
    database.exec(statements);
  } finally {
    database.close();
  }
}

test('rows that cannot be read are named, with the way back: the next start, the host, its address', async (t) => {
  const made = await patient(t);
  plant(
    made,
    `update "items" set "lastBackup" = '{"status":"Odd"}'; update "points" set "facts" = '{';
     update "policies" set "body" = '[]'; update "vaults" set "settings" = '{}';
     update "vms" set "facts" = 'no'; update "hosts" set "settings" = '{"version":2}'`,
  );
  const found = await errors(made);
  for (const line of [
    /^item lab\/web: .* items\.lastBackup: .* -> restart the service/,
    /^recovery point \d+: .* points\.facts: .* -> restart the service/,
    /^policy DefaultPolicy: .* policies\.body: .* -> restart the service/,
    /^vault lab\/v1: .* vaults\.settings: .* -> restart the service/,
    /^VM lab\/web: .* vms\.facts: .* -> run holdfast host refresh lab$/,
    /^host lab: .* hosts\.settings: .* -> add it again: holdfast host add lab --connect images:/,
  ]) {
    assert.ok(
      found.some((one) => line.test(one)),
      `${line.source}\n${found.join('\n')}`,
    );
  }
  assert.equal(found.length, 6);
  await made.restart();
  await putHost(made.service(), { name: GROUP, uri: `images:${made.images}` });
  await discoverHost(made.service(), GROUP);
  assert.deepEqual(await errors(made), []);
  plant(made, `update "jobs" set "tasks" = '{"a":1}' where "operation" = 'Backup'`);
  assert.match((await errors(made)).join(), /^job .* jobs\.tasks: .* put a copy of the catalogue/);
});

test('a row without its other one, a missing index, a strange table and a file that is damaged are found', async (t) => {
  const made = await patient(t);
  plant(
    made,
    `pragma foreign_keys = off; drop index "pointsByTime"; create table "strange" ("a" text);
     insert into "policies" select 'x', 'no vault', 'x', 'x', "body", 1, 1, 1 from "policies";
     update "facts" set "value" = 'x' where "name" = 'migration 1'`,
  );
  const found = (await errors(made)).join('\n');
  assert.match(found, /damaged: row \d+ of policies names a row of vaults that is not there/);
  assert.match(found, /tables are not those .*: pointsByTime is missing/);
  assert.match(found, /tables are not those .*: strange is not of Holdfast/);
  assert.match(found, /tables are not those .*: migration 1 is another one/);
  plant(
    made,
    `pragma writable_schema = on;
     update sqlite_master set "sql" = replace("sql", '"name" text not null', '"name" text') where "name" = 'hosts'`,
  );
  plant(made, `update "hosts" set "name" = null`);
  plant(
    made,
    `pragma writable_schema = on;
     update sqlite_master set "sql" = replace("sql", '"name" text', '"name" text not null') where "name" = 'hosts'`,
  );
  assert.match((await errors(made)).join('\n'), /damaged: NULL value in hosts\.name/);
});

test('every column of the schema that holds JSON is looked at', () => {
  const text = readFileSync('src/service/catalogue/schema.ts', 'utf8');
  const columns = Array.from(
    text.matchAll(/^ {2}readonly (\w+): \{\n([\s\S]*?)^ {2}\};/gm),
    ([, table, body]) =>
      Array.from(body!.matchAll(/^ {4}(\w+): JsonText/gm), ([, column]) => `${table}.${column}`),
  ).flat();
  const known = Object.entries(JSON_COLUMNS).flatMap(([table, codecs]) =>
    Object.keys(codecs).map((column) => `${table}.${column}`),
  );
  assert.ok(columns.length > 20);
  assert.deepEqual(known.toSorted(), columns.toSorted());
});
