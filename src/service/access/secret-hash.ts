/**
 * Secrets of principals: made here, kept only as scrypt hashes (RFC 7914).
 *
 * ```
 *   scrypt$<log2 N>$<r>$<p>$<salt>$<hash>     salt 16, hash 32 bytes, base64url
 * ```
 */
import { scrypt, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 32;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const COST = { log2N: 15, r: 8, p: 1 } as const;
/** Of what a stored hash may ask for: 128 × N × r bytes. */
const MOST_LOG2_N = 20;
const MOST_MEMORY_BYTES = 256 * 1024 * 1024;

type Cost = { readonly N: number; readonly r: number; readonly p: number };

type Random = (sizeBytes: number) => Buffer;

/** Some 256 random bits, of letters that no shell minds; az takes a secret that begins with a dash for an option. */
export function makeSecret(random: Random): string {
  return random(SECRET_BYTES).toString('base64url').replace(/^-/, 'A');
}

export async function hashSecret(secret: string, random: Random): Promise<string> {
  const { log2N, r, p } = COST;
  const salt = random(SALT_BYTES);
  const hash = await derive(secret, salt, { N: 2 ** log2N, r, p });
  return ['scrypt', log2N, r, p, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

/** Compared in a time that does not depend on the secret. @throws {TypeError} if `stored` is no such hash. */
export async function isSecret(secret: string, stored: string): Promise<boolean> {
  const [kind, log2N, r, p, salt = '', hash = ''] = stored.split('$');
  const expected = Buffer.from(hash, 'base64url');
  const isKnown = kind === 'scrypt' && expected.length === HASH_BYTES;
  if (!isKnown || !(Number(log2N) <= MOST_LOG2_N)) throw new TypeError('not a hash of a secret');
  const cost = { N: 2 ** Number(log2N), r: Number(r), p: Number(p) };
  return timingSafeEqual(await derive(secret, Buffer.from(salt, 'base64url'), cost), expected);
}

async function derive(secret: string, salt: Buffer, cost: Cost): Promise<Buffer> {
  const options = { ...cost, maxmem: MOST_MEMORY_BYTES };
  return await new Promise((resolve, reject) => {
    scrypt(secret, salt, HASH_BYTES, options, (error, hash) => {
      if (error === null) resolve(hash);
      else reject(error);
    });
  });
}
