/**
 * Access tokens: JSON Web Tokens (RFC 7519) signed with RS256 under a key in the data folder, good for an hour.
 * Clients of Azure look into them for `tid`, `oid`, `appid` and `exp`; only we check the signature.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { exportJWK, calculateJwkThumbprint, jwtVerify, SignJWT, type JWK } from 'jose';
import { HoldfastError, type Clock } from '#base';
import { writePrivate } from '../data-folder/write-private.ts';

type TokenClaims = { readonly clientId: string; readonly audience: string };

export type Tokens = {
  readonly sign: (claims: TokenClaims) => Promise<{ token: string; expiresAtMs: number }>;
  /** @throws {HoldfastError} `TokenInvalid`: not ours, expired, changed. */
  readonly verify: (token: string) => Promise<TokenClaims>;
  /** The public key, for whoever wants to check a signature. */
  readonly publicKey: JWK;
};

const ALGORITHM = 'RS256';
const KEY_BITS = 2048;
const LIFE_SECONDS = 3600;
const LONGEST_TOKEN = 4096;

/** Makes the key where the file is not there. @throws {HoldfastError} `MasterKeyWrong` if the file is no key. */
export async function openTokens(options: {
  readonly keyFile: string;
  readonly tenantId: string;
  readonly clock: Clock;
}): Promise<Tokens> {
  const { keyFile, tenantId, clock } = options;
  const key = await readOrMakeKey(keyFile);
  const publicKey = createPublicKey(key);
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  const issuer = `urn:holdfast:${tenantId}`;
  const nowSeconds = (): number => Math.floor(clock.nowMs() / 1000);
  return {
    publicKey: { ...jwk, kid, use: 'sig', alg: ALGORITHM },
    sign: async ({ clientId, audience }) => {
      const now = nowSeconds();
      const claims = { tid: tenantId, oid: clientId, appid: clientId, idtyp: 'app', ver: '1.0' };
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid })
        .setIssuer(issuer)
        .setSubject(clientId)
        .setAudience(audience)
        .setIssuedAt(now)
        .setNotBefore(now)
        .setExpirationTime(now + LIFE_SECONDS)
        .sign(key);
      return { token, expiresAtMs: (now + LIFE_SECONDS) * 1000 };
    },
    verify: async (token) => {
      try {
        if (token.length > LONGEST_TOKEN) throw new RangeError('too long');
        const { payload } = await jwtVerify(token, publicKey, {
          algorithms: [ALGORITHM],
          issuer,
          currentDate: new Date(clock.nowMs()),
          maxTokenAge: LIFE_SECONDS,
          requiredClaims: ['sub', 'aud', 'exp', 'nbf'],
        });
        const { sub, aud } = payload;
        if (typeof sub !== 'string' || typeof aud !== 'string') throw new TypeError('no subject');
        return { clientId: sub, audience: aud };
      } catch (error) {
        throw new HoldfastError('TokenInvalid', 'The access token is invalid or has expired.', {
          cause: error,
        });
      }
    },
  };
}

async function readOrMakeKey(path: string): Promise<KeyObject> {
  const known = await readKey(path);
  if (known !== undefined) return known;
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: KEY_BITS });
  await writePrivate(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return privateKey;
}

async function readKey(path: string): Promise<KeyObject | undefined> {
  try {
    const pem = await readFile(path);
    await chmod(path, 0o600);
    return createPrivateKey(pem);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new HoldfastError(
      'MasterKeyWrong',
      `${path} is not a private key: delete it, and a new one is made (${String(error)})`,
      { cause: error, details: { path } },
    );
  }
}
