/**
 * Kernel locks of one machine: who owns a repository in a folder, and which readers live. A lock is an
 * exclusive SQLite transaction held open on a file of its own; the kernel releases it when the
 * process ends, however it ends, so it depends on no pid and no time. It excludes every other connection, of
 * this process too (SQLite keeps account of those itself, threads included).
 *
 * The file stays when the lock goes, except by `release({ remove: true })` where nobody else can want
 * the same lock. Nobody opens it but SQLite: closing any descriptor of it would drop the lock.
 * Beside it, `<file>.holder` says who holds it; that is for messages only.
 */

import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { HoldfastError, throwIfCancelled, type Clock } from '#base';

/** Who holds a lock, for people. */
export type LockHolder = {
  readonly pid: number;
  readonly host: string;
  readonly command: string;
  readonly sinceMs: number;
};

export type OwnerLock = {
  readonly file: string;
  /** Idempotent. `remove`: deletes the file too, for locks that one holder only ever takes. */
  release(options?: { readonly remove: boolean }): void;
};

const POLL_MS = 100;
/** `isHeld` of another process takes the lock for an instant: that must not look like a holder. */
const BUSY_TIMEOUT_MS = 20;
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;
const MAX_COMMAND_LENGTH = 200;

/** A collected connection would close, and its lock with it: whoever holds a lock stays in here. */
const heldConnections = new Set<DatabaseSync>();

/**
 * Takes the lock if it is free. `file` is on a local file system; its folder is made. Without `holder` nothing is
 * said of who holds it.
 *
 * @returns undefined if another process, or another part of this one, holds it.
 * @throws {HoldfastError} `StoreReadOnly` if the file cannot be written; `StoreUnsupported` where the file
 *   system does not lock.
 */
export function tryLock(file: string, holder?: LockHolder): OwnerLock | undefined {
  const connection = openForLocking(file);
  try {
    // An empty file: SQLite would begin its journal with the lock, for which a full disk has no room.
    connection.exec('PRAGMA journal_mode = MEMORY');
    connection.exec('BEGIN EXCLUSIVE');
    // Where SQLite silently opened it read-only, or the file system has no locks, this shows.
    if (!isHeld(file)) {
      throw new HoldfastError('StoreUnsupported', `${file} cannot be locked on this file system`);
    }
  } catch (error) {
    connection.close();
    if (sqliteCode(error) === SQLITE_BUSY) return undefined;
    throw asLockError(error, file);
  }
  heldConnections.add(connection);
  if (holder !== undefined) writeHolder(file, holder);
  return {
    file,
    release: (options) => release(connection, { file, remove: options?.remove === true }),
  };
}

/**
 * Waits up to `waitMs` for the lock.
 *
 * @throws {HoldfastError} `RepositoryHeld` saying who holds it; `Cancelled`; and as `tryLock`.
 */
export async function lockWithin(
  file: string,
  options: {
    readonly holder: LockHolder;
    readonly waitMs: number;
    readonly clock: Clock;
    readonly signal?: AbortSignal;
  },
): Promise<OwnerLock> {
  const { holder, waitMs, clock, signal } = options;
  const deadlineMs = clock.monotonicMs() + waitMs;
  for (;;) {
    throwIfCancelled(signal);
    const lock = tryLock(file, holder);
    if (lock !== undefined) return lock;
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0) throw repositoryHeld(file);
    try {
      await clock.sleep(Math.min(POLL_MS, leftMs), signal);
    } catch (error) {
      throwIfCancelled(signal);
      throw error;
    }
  }
}

/** Whether any process holds the lock, this one included. A file that is not there is not held. */
export function isHeld(file: string): boolean {
  if (!existsSync(file)) return false;
  let connection: DatabaseSync | undefined;
  try {
    connection = new DatabaseSync(file, { readOnly: true, timeout: 0 });
    connection.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    if (sqliteCode(error) === SQLITE_BUSY) return true;
    if (sqliteCode(error) === SQLITE_CANTOPEN && !existsSync(file)) return false;
    throw asLockError(error, file);
  } finally {
    connection?.close();
  }
}

/** Who holds the lock, as far as it has said so; of no meaning while the lock is free. */
export function readHolder(file: string): LockHolder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(holderFile(file), 'utf8'));
    return isHolder(value) ? value : undefined;
  } catch {
    return undefined; // Only a message depends on it, and that says then that nothing is known.
  }
}

function openForLocking(file: string): DatabaseSync {
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    if (existsSync(file)) accessSync(file, constants.W_OK);
    return new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw asLockError(error, file);
  }
}

function release(
  connection: DatabaseSync,
  { file, remove }: { readonly file: string; readonly remove: boolean },
): void {
  if (!heldConnections.delete(connection)) return;
  // While the lock is still ours: afterwards these may be another's.
  rmSync(holderFile(file), { force: true });
  if (remove) rmSync(file, { force: true });
  connection.close();
}

/** A full disk must not keep anyone from the lock: deleting, which makes room, needs it too. */
function writeHolder(file: string, holder: LockHolder): void {
  const command = holder.command.slice(0, MAX_COMMAND_LENGTH);
  const draft = `${holderFile(file)}.new`;
  try {
    writeFileSync(draft, JSON.stringify({ ...holder, command }));
    renameSync(draft, holderFile(file));
  } catch {
    rmSync(draft, { force: true });
    rmSync(holderFile(file), { force: true });
  }
}

function holderFile(file: string): string {
  return `${file}.holder`;
}

function isHolder(value: unknown): value is LockHolder {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, host, command, sinceMs } = value as Readonly<Record<string, unknown>>;
  const named = typeof host === 'string' && typeof command === 'string';
  return named && typeof pid === 'number' && typeof sinceMs === 'number';
}

function repositoryHeld(file: string): HoldfastError {
  const holder = readHolder(file);
  const who =
    holder === undefined
      ? 'another process'
      : `process ${holder.pid} on ${holder.host} (${holder.command})`;
  const details: Record<string, string | number> = { file };
  if (holder !== undefined) {
    const { pid, host, command, sinceMs } = holder;
    Object.assign(details, { pid, host, command, since: isoTime(sinceMs) });
  }
  const since = holder === undefined ? '' : ` since ${isoTime(holder.sinceMs)}`;
  return new HoldfastError('RepositoryHeld', `the repository is held by ${who}${since}`, {
    details,
  });
}

function isoTime(timeMs: number): string {
  const time = new Date(timeMs);
  return Number.isNaN(time.getTime()) ? 'an unknown time' : time.toISOString();
}

function sqliteCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function asLockError(error: unknown, file: string): unknown {
  if (error instanceof HoldfastError) return error;
  const code = sqliteCode(error);
  const systemCode = error instanceof Error && 'code' in error ? error.code : undefined;
  const readOnly =
    code === SQLITE_READONLY ||
    code === SQLITE_CANTOPEN ||
    ['EACCES', 'EROFS', 'EPERM'].includes(String(systemCode));
  if (readOnly) {
    return new HoldfastError('StoreReadOnly', `cannot write the lock ${file}`, { cause: error });
  }
  return new HoldfastError('StoreFailed', `cannot lock ${file}`, { cause: error });
}
