import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { sql } from 'kysely';
import { isHoldfastError } from '#base';
import { openCatalogue } from './catalogue.ts';

async function place(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-catalogue-'));
  t.after(async () => await rm(folder, { recursive: true }));
  return join(folder, 'catalogue.db');
}

const group = (key: string) => ({ key, name: key, location: 'local', tags: '{}', createdAt: 1 });

test('a change is all there after closing and opening again, a failed one not at all', async (t) => {
  const path = await place(t);
  const first = await openCatalogue(path);
  await first.change(async (change) => {
    await change.insertInto('resourceGroups').values(group('a')).execute();
  });
  const failed = first.change(async (change) => {
    await change.insertInto('resourceGroups').values(group('b')).execute();
    throw new Error('no');
  });
  await assert.rejects(failed, /no/);
  await first.close();
  const second = await openCatalogue(path);
  const rows = await second.read.selectFrom('resourceGroups').select('key').execute();
  assert.deepEqual(
    rows.map(({ key }) => key),
    ['a'],
  );
  await second.close();
});

test('changes come one after another; reading inside one sees what is durable and waits for nobody', async (t) => {
  const catalogue = await openCatalogue(await place(t));
  const count = async (): Promise<number> =>
    (await catalogue.read.selectFrom('resourceGroups').select('key').execute()).length;
  const seen: number[] = [];
  await Promise.all(
    ['a', 'b', 'c'].map(async (key) => {
      await catalogue.change(async (change) => {
        seen.push(await count());
        await change.insertInto('resourceGroups').values(group(key)).execute();
        seen.push(await count());
      });
    }),
  );
  assert.deepEqual(seen, [0, 0, 1, 1, 2, 2]);
  await catalogue.close();
});

test('what refers to something that is not there is refused', async (t) => {
  const catalogue = await openCatalogue(await place(t));
  const orphan = catalogue.change(async (change) => {
    const host = { key: 'h', name: 'h', uri: 'u', settings: '{}', addedAt: 1 };
    await change
      .insertInto('hosts')
      .values({ ...host, seenAt: null, failure: null })
      .execute();
  });
  await assert.rejects(orphan, /FOREIGN KEY/);
  await catalogue.close();
});

test('a file that is no catalogue, and one of a newer version, are refused with what to do', async (t) => {
  const path = await place(t);
  await writeFile(path, 'x'.repeat(5000));
  await assert.rejects(openCatalogue(path), (error) => {
    assert.ok(isHoldfastError(error, 'CatalogueUnusable'));
    return /put a copy of it back/.test(error.message);
  });
  await rm(path);
  await (await openCatalogue(path)).close();
  const database = new DatabaseSync(path);
  database.exec('pragma user_version = 99');
  database.close();
  await assert.rejects(openCatalogue(path), /newer Holdfast/);
});

test('a catalogue whose tables are of no released version is refused, and the way out named', async (t) => {
  const path = await place(t);
  await (await openCatalogue(path)).close();
  await (await openCatalogue(path)).close();
  const database = new DatabaseSync(path);
  database.exec(`update "facts" set "value" = 'x' where "name" = 'migration 1'`);
  database.close();
  await assert.rejects(openCatalogue(path), /takes the vaults over from their repositories/);
});

test('a full disk fails the change whole, says so, and the catalogue goes on when there is room again', async (t) => {
  const catalogue = await openCatalogue(await place(t));
  const add = async (name: string, tags: string): Promise<void> =>
    await catalogue.change(async (change) => {
      await change
        .insertInto('resourceGroups')
        .values({ ...group(name), tags })
        .execute();
    });
  const limit = async (pages: number): Promise<void> =>
    await catalogue.change(async (change) => {
      await sql`pragma max_page_count = ${sql.lit(pages)}`.execute(change);
    });
  await add('a', '{}');
  await limit(1); // SQLite takes what is there already as the least.
  await assert.rejects(add('b', 'x'.repeat(1 << 20)), (error) =>
    isHoldfastError(error, 'CatalogueUnwritable'),
  );
  await add('c', '{}');
  await limit(1 << 20);
  await add('d', 'x'.repeat(1 << 20));
  const rows = await catalogue.read.selectFrom('resourceGroups').select('key').execute();
  assert.deepEqual(
    rows.map(({ key }) => key),
    ['a', 'c', 'd'],
  );
  await catalogue.close();
});
