/** SHA-256 in one call: `crypto.hash` needs no hash object and is the fastest that Node has. */

import { hash } from 'node:crypto';

/** @returns 32 bytes. */
export function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** @returns 64 lowercase hex digits: how the log, manifests and documents name bytes. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
