/**
 * Names of packs. A pack id is the id of the session that wrote it and a counter, so no id is ever
 * used twice (invariant 1) and one log entry announces every pack of a session.
 *
 *     pack id (20 bytes) = session id (16) ‖ counter (u32, big-endian)
 *     object name        = packs/<first 2 hex>/<40 hex>
 */
import assert from 'node:assert/strict';

export const SESSION_ID_BYTES = 16;
const PACK_ID_BYTES = 20;

const NAME = /^packs\/([0-9a-f]{2})\/(\1[0-9a-f]{38})$/;

/** The id of the session's pack number `counter` (u32). */
export function packIdOf({ session, counter }: { session: Buffer; counter: number }): Buffer {
  assert(session.length === SESSION_ID_BYTES, 'session id');
  const id = Buffer.alloc(PACK_ID_BYTES);
  session.copy(id);
  id.writeUInt32BE(counter, SESSION_ID_BYTES);
  return id;
}

/** The session's 16 bytes, a view into the pack id. */
export function sessionOf(packId: Buffer): Buffer {
  return packId.subarray(0, SESSION_ID_BYTES);
}

export function counterOf(packId: Buffer): number {
  return packId.readUInt32BE(SESSION_ID_BYTES);
}

export function packName(packId: Buffer): string {
  assert(packId.length === PACK_ID_BYTES, 'pack id');
  const hex = packId.toString('hex');
  return `packs/${hex.slice(0, 2)}/${hex}`;
}

/** The id in the name of a pack; undefined for any other name. */
export function parsePackName(name: string): Buffer | undefined {
  const hex = NAME.exec(name)?.[2];
  return hex === undefined ? undefined : Buffer.from(hex, 'hex');
}

/** What the names of all packs of a session begin with, and of no other session. */
export function sessionPrefix(session: Buffer): string {
  assert(session.length === SESSION_ID_BYTES, 'session id');
  const hex = session.toString('hex');
  return `packs/${hex.slice(0, 2)}/${hex}`;
}
