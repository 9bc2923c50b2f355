/**
 * Does a store keep the contract? Asked before anything is entrusted to it: in full when a repository
 * is made (a dozen requests, five fsyncs in a folder), and for the one thing that a folder may lose
 * later, hard links and the right to write, whenever it is opened for writing (no fsync).
 */
import { randomBytes } from 'node:crypto';
import { link, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { linkError } from './file-errors.ts';
import type { ObjectStore } from './object-store.ts';

/**
 * Tries every promise that one caller can observe, on one object that it deletes again.
 *
 * @throws {HoldfastError} `StoreUnsupported` that says which promise the store broke.
 */
export async function probeStore(store: ObjectStore): Promise<void> {
  const name = `probe-${randomBytes(8).toString('hex')}`;
  const first = Buffer.from('holdfast probe: first');
  try {
    expect(store, (await store.createIfAbsent(name, first)) === 'created', 'creates an object');
    const second = Buffer.from('holdfast probe: second');
    expect(
      store,
      (await store.createIfAbsent(name, second)) === 'exists',
      'creates an object only if it is absent',
    );
    const read = await store.read(name, { maxBytes: first.length });
    expect(store, read.equals(first), 'reads back what was written');
    const range = await store.readRange(name, { offsetBytes: 9, lengthBytes: 5 });
    expect(store, range.equals(first.subarray(9, 14)), 'reads ranges');
    expect(store, !(await overwrites(store, name)), 'refuses a second put of a name');
    await store.delete(name);
    expect(store, (await store.size(name)) === undefined, 'no longer shows what was deleted');
  } finally {
    await store.delete(name);
  }
}

/** Whether a streaming put replaces an object that exists. */
async function overwrites(store: ObjectStore, name: string): Promise<boolean> {
  const writer = await store.openWriter(name);
  try {
    await writer.write(Buffer.from('holdfast probe: third'));
    await writer.commit();
    return true;
  } catch (error) {
    if (!isHoldfastError(error, 'ObjectExists')) throw error;
    return false;
  } finally {
    await writer.abort();
  }
}

function expect(store: ObjectStore, kept: boolean, promise: string): void {
  if (kept) return;
  throw new HoldfastError(
    'StoreUnsupported',
    `${store.location} cannot hold a repository: no storage that ${promise}; use another folder`,
  );
}

/**
 * Whether files can be made and linked in the folder; costs five system calls and leaves nothing.
 *
 * @throws {HoldfastError} `StoreUnsupported` (no hard links), `StoreReadOnly`, `StoreFull`.
 */
export async function probeFolder(folder: string): Promise<void> {
  const path = join(folder, `.probe-${randomBytes(8).toString('hex')}`);
  const other = `${path}-link`;
  try {
    await (await open(path, 'wx', 0o600)).close();
    await link(path, other);
  } catch (error) {
    throw linkError(error, { doing: 'trying to write', path: folder, access: 'write' });
  } finally {
    await unlinkIfPresent(other);
    await unlinkIfPresent(path);
  }
}

async function unlinkIfPresent(path: string): Promise<void> {
  // Only what was made is removed; on a read-only file system there is nothing.
  await unlink(path).catch(() => undefined);
}
