/**
 * Who may use the service: signing in with a secret, and the tokens that come of it.
 *
 * ```
 *   client id, secret ─► delays ─► scrypt ─► token (an hour) ─► each request: signature, time, audience, still there
 * ```
 */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '#base';
import type { RecordParts } from '../record-parts.ts';
import { takeTurns } from '../turns.ts';
import { createPrincipal, listPrincipals, principalOf, principalRow } from './principals.ts';
import type { NewPrincipal, Principal } from './principals.ts';
import { hashSecret, isSecret, makeSecret } from './secret-hash.ts';
import { signInDelays } from './sign-in-delays.ts';
import { openTokens, type Tokens } from './tokens.ts';

type SignIn = {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Where the request came from. */
  readonly address: string;
  /** For which API; the caller has seen that it is ours. */
  readonly audience: string;
};

export type Access = {
  readonly tenantId: string;
  readonly subscriptionId: string;
  /** Makes the first account where there is none. @param announce as in `createPrincipal`. @returns whether it did. */
  readonly makeFirstPrincipal: (
    announce: (principal: NewPrincipal) => Promise<void>,
  ) => Promise<boolean>;
  /**
   * @throws {HoldfastError} `SignInRefused`, the same whether the id or the secret is wrong; `SignInDelayed` with
   *   `details.waitSeconds` where too many were wrong before: nothing was looked at.
   */
  readonly signIn: (attempt: SignIn) => Promise<{ token: string; expiresAtMs: number }>;
  /** @throws {HoldfastError} `TokenInvalid`, also where the principal is gone. */
  readonly verify: (token: string) => Promise<Principal & { readonly audience: string }>;
  readonly publicKey: Tokens['publicKey'];
};

type AccessParts = RecordParts & { readonly dataFolder: { readonly tokenKey: string } };

export async function openAccess(parts: AccessParts): Promise<Access> {
  const { catalogue, clock, random, dataFolder } = parts;
  const { tenantId, subscriptionId } = await ownIds(parts);
  const tokens = await openTokens({ keyFile: dataFolder.tokenKey, tenantId, clock });
  const delays = signInDelays(clock);
  // One at a time: each takes 32 MiB and a thread of the pool that files need too.
  const turns = takeTurns();
  const nobody = await hashSecret(makeSecret(random), random);
  return {
    tenantId,
    subscriptionId,
    makeFirstPrincipal: async (announce) => {
      if ((await listPrincipals(catalogue.read)).length > 0) return false;
      await createPrincipal(parts, 'admin', announce);
      return true;
    },
    publicKey: tokens.publicKey,
    signIn: async (attempt) => {
      const { clientId, clientSecret, audience } = attempt;
      return await turns('', async () => {
        const waitMs = delays.waitMs(attempt);
        if (waitMs > 0) throw delayed(waitMs);
        const row = await principalRow(catalogue.read, clientId);
        const isRight = await isSecret(clientSecret, row?.secretHash ?? nobody);
        if (row === undefined || !isRight) {
          delays.failed(attempt);
          throw new HoldfastError('SignInRefused', 'The client id or the secret is wrong.');
        }
        delays.succeeded(attempt);
        return await tokens.sign({ clientId: row.clientId, audience });
      });
    },
    verify: async (token) => {
      const { clientId, audience } = await tokens.verify(token);
      const row = await principalRow(catalogue.read, clientId);
      if (row !== undefined) return { ...principalOf(row), audience };
      throw new HoldfastError('TokenInvalid', 'The access token is of an account that is gone.');
    },
  };
}

function delayed(waitMs: number): HoldfastError {
  const waitSeconds = Math.ceil(waitMs / 1000);
  return new HoldfastError(
    'SignInDelayed',
    `Too many wrong secrets: try again in ${waitSeconds} seconds.`,
    { details: { waitSeconds } },
  );
}

/** Made once, for ever. */
async function ownIds({
  catalogue,
}: RecordParts): Promise<{ readonly tenantId: string; readonly subscriptionId: string }> {
  return await catalogue.change(async (change) => {
    const idOf = async (name: string): Promise<string> => {
      await change
        .insertInto('facts')
        .values({ name, value: randomUUID() })
        .onConflict((known) => known.doNothing())
        .execute();
      const query = change.selectFrom('facts').select('value').where('name', '=', name);
      return (await query.executeTakeFirstOrThrow()).value;
    };
    return { tenantId: await idOf('tenantId'), subscriptionId: await idOf('subscriptionId') };
  });
}
