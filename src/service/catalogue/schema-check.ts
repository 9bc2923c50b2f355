/** Whether the file of the catalogue is whole, and has the tables that its migrations make. */
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { hashOfMigration, type CatalogueReader } from './catalogue.ts';
import { MIGRATIONS } from './migrations.ts';

/** Of SQLite's own checks, in its words; empty: all is well. */
export async function integrityFaults(reader: CatalogueReader): Promise<readonly string[]> {
  const check = await sql<{ integrity_check: string }>`pragma integrity_check`.execute(reader);
  const faults = check.rows.map(({ integrity_check: text }) => text).filter((one) => one !== 'ok');
  const keys = await sql<{
    table: string;
    rowid: number | null;
    parent: string;
  }>`pragma foreign_key_check`.execute(reader);
  const orphans = keys.rows.map(
    ({ table, rowid, parent }) =>
      `row ${rowid ?? '?'} of ${table} names a row of ${parent} that is not there`,
  );
  return [...faults, ...orphans];
}

type Made = { readonly name: string; readonly sql: string };

/** A line for each table and index that is missing, strange or another one, and for each migration that is. */
export async function schemaFaults(reader: CatalogueReader): Promise<readonly string[]> {
  const query = sql<Made>`select "name", "sql" from sqlite_master where "sql" is not null and "name" not like 'sqlite%'`;
  const there = new Map((await query.execute(reader)).rows.map((one) => [one.name, one.sql]));
  const expected = expectedSchema();
  const names = new Set([...expected.keys(), ...there.keys()]);
  const differing = [...names].filter((name) => there.get(name) !== expected.get(name));
  const facts = await reader.selectFrom('facts').selectAll().execute();
  const hashes = new Map(facts.map(({ name, value }) => [name, value]));
  const others = MIGRATIONS.map((_, step) => step).filter(
    (step) => hashes.get(`migration ${step + 1}`) !== hashOfMigration(step),
  );
  return [
    ...differing.map((name) => {
      if (!there.has(name)) return `${name} is missing`;
      return expected.has(name) ? `${name} is another one` : `${name} is not of Holdfast`;
    }),
    ...others.map((step) => `migration ${step + 1} is another one`),
  ];
}

/** What the migrations make of nothing. */
function expectedSchema(): ReadonlyMap<string, string> {
  const database = new DatabaseSync(':memory:');
  try {
    for (const migration of MIGRATIONS) database.exec(migration.join(';\n'));
    const made = database.prepare(
      `select "name", "sql" from sqlite_master where "sql" is not null and "name" not like 'sqlite%'`,
    );
    return new Map(made.all().map((row) => [String(row['name']), String(row['sql'])]));
  } finally {
    database.close();
  }
}
