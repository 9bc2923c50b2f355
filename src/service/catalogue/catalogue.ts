/**
 * The catalogue: the service's working copy of what repositories and hypervisors know, and its own accounts and
 * jobs (docs/decisions/0008). SQLite by Kysely; durable when a change returns.
 *
 * Depends on one process a file, which the data folder's lock gives.
 */
import { createHash } from 'node:crypto';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteDialect, type SqliteDatabase, type Transaction } from 'kysely';
import { HoldfastError } from '#base';
import { MIGRATIONS } from './migrations.ts';
import type { Catalogue } from './schema.ts';

/** For reading; inside `change`, for reading and writing. */
export type CatalogueReader = Kysely<Catalogue>;
export type CatalogueChange = Transaction<Catalogue>;

export type OpenCatalogue = {
  /** What is durable: inside a change it does not see that change. */
  readonly read: CatalogueReader;
  /**
   * One at a time, in the order of arrival; all of it is durable on return, or nothing of it happened. No slow
   * work inside, and no other `change`.
   *
   * @throws {HoldfastError} `CatalogueUnwritable` (retryable) if the disk is full or fails; what `work` throws.
   */
  readonly change: <Result>(work: (change: CatalogueChange) => Promise<Result>) => Promise<Result>;
  readonly close: () => Promise<void>;
};

/**
 * Opens the file, makes it where it is not there, and brings it to this version.
 *
 * @throws {HoldfastError} `CatalogueUnusable` if it is no catalogue, damaged, or of a newer version.
 */
export async function openCatalogue(path: string): Promise<OpenCatalogue> {
  // Kysely has one connection and makes whoever comes wait: readers have their own.
  const write = asKysely(openFile(path));
  const read = asKysely(new DatabaseSync(path, { readOnly: true }));
  let last: Promise<unknown> = Promise.resolve();
  return {
    read,
    change: async (work) => {
      const turn = last.then(async () => await changed(write, work, path));
      last = turn.catch(() => undefined); // Its caller has the error.
      return await turn;
    },
    close: async () => {
      await last;
      await read.destroy();
      await write.destroy();
    },
  };
}

/**
 * By hand instead of Kysely's transaction: a full disk makes SQLite roll back by itself, and a second rollback would
 * fail and hide why.
 */
async function changed<Result>(
  write: Kysely<Catalogue>,
  work: (change: CatalogueChange) => Promise<Result>,
  path: string,
): Promise<Result> {
  const transaction = await write.startTransaction().execute();
  try {
    const result = await work(transaction);
    await transaction.commit().execute();
    return result;
  } catch (error) {
    await transaction
      .rollback()
      .execute()
      .catch(() => undefined); // SQLite has rolled back.
    throw isDiskTrouble(error) ? unwritable(path, error) : error;
  }
}

const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;

/** Extended codes hold the plain one in their low byte. */
function isDiskTrouble(error: unknown): boolean {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  return code === SQLITE_FULL || code === SQLITE_IOERR;
}

function unwritable(path: string, cause: unknown): HoldfastError {
  return new HoldfastError(
    'CatalogueUnwritable',
    `${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}. Free space on its disk, ` +
      'then try again',
    { details: { path }, cause },
  );
}

function openFile(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on');
    migrate(database, path);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError(
      'CatalogueUnusable',
      `${path} cannot be used as the catalogue: put a copy of it back, or start with an empty data ` +
        `folder and take the vaults over from their repositories (${String(error)})`,
      { details: { path }, cause: error },
    );
  }
}

function migrate(database: DatabaseSync, path: string): void {
  const version = Number(database.prepare('pragma user_version').get()!['user_version']);
  if (version > MIGRATIONS.length) {
    throw new HoldfastError(
      'CatalogueUnusable',
      `${path} was written by a newer Holdfast (version ${version} of the catalogue, this one knows ` +
        `${MIGRATIONS.length}): start that one, or a later one; to go back, put the copy of the data folder back that was ` +
        'made before the upgrade',
      { details: { path } },
    );
  }
  if (version > 0) requireSame(database, { path, version });
  for (let next = version; next < MIGRATIONS.length; next += 1) {
    const noted = `insert into "facts" values ('migration ${next + 1}', '${hashOfMigration(next)}')`;
    const statements = [...MIGRATIONS[next]!, noted, `pragma user_version = ${next + 1}`];
    database.exec(['begin immediate', ...statements, 'commit'].join(';\n'));
  }
}

/** A catalogue of a state between two versions has other columns: better refused than half understood. */
function requireSame(
  database: DatabaseSync,
  { path, version }: { readonly path: string; readonly version: number },
): void {
  const fact = database.prepare('select "value" from "facts" where "name" = ?');
  for (let step = 0; step < version; step += 1) {
    if (fact.get(`migration ${step + 1}`)?.['value'] === hashOfMigration(step)) continue;
    throw new HoldfastError(
      'CatalogueUnusable',
      `${path} was made by a Holdfast that was never released: move catalogue.db away and start the service, which ` +
        'takes the vaults over from their repositories; add hosts, storage accounts and accounts again',
      { details: { path } },
    );
  }
}

export function hashOfMigration(step: number): string {
  return createHash('sha256').update(MIGRATIONS[step]!.join(';')).digest('hex');
}

function asKysely(database: DatabaseSync): Kysely<Catalogue> {
  const dialect = new SqliteDialect({ database: likeBetterSqlite(database) });
  return new Kysely<Catalogue>({ dialect });
}

/** The few methods of better-sqlite3 that Kysely calls. */
function likeBetterSqlite(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        iterate: (parameters) =>
          statement.iterate(...values(parameters)) as IterableIterator<unknown>,
        run: (parameters) => statement.run(...values(parameters)),
      };
    },
  };
}
