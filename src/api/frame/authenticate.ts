/** Whose request it is: the token of its Authorization header (RFC 6750). */
import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '#service';
import { challenge } from '../http-errors.ts';
import { Refusal } from './refusal.ts';
import type { Site } from './route.ts';

/** What Azure's SDKs ask tokens for, whatever endpoint they are given. */
const AZURE_AUDIENCES: ReadonlySet<string> = new Set([
  'https://management.azure.com',
  'https://management.core.windows.net',
]);

type Unproven = {
  readonly headers: IncomingHttpHeaders;
  readonly baseUrl: string;
  /** Called before a refusal; what it throws is answered instead. */
  readonly onFailure: () => void;
};

/** @throws {Refusal} `AuthenticationFailed`, `InvalidAuthenticationTokenAudience`; {HoldfastError} `TokenInvalid`. */
export async function authenticate(
  { access }: Site,
  { headers, baseUrl, onFailure }: Unproven,
): Promise<Principal> {
  const token = /^bearer +([\w.~+/=-]+) *$/i.exec(headers.authorization ?? '')?.[1];
  try {
    if (token === undefined) {
      throw new Refusal(
        'AuthenticationFailed',
        'Authentication failed. The Authorization header with a Bearer token is missing.',
        challenge(),
      );
    }
    const { audience, ...principal } = await access.verify(token);
    if (isOwnAudience(audience, baseUrl)) return principal;
    throw new Refusal(
      'InvalidAuthenticationTokenAudience',
      `The access token was given for '${audience}', not for this API.`,
      challenge(),
    );
  } catch (error) {
    onFailure();
    throw error;
  }
}

/** @param baseUrl how the client reached us: `https://localhost:8443`. */
export function isOwnAudience(audience: string, baseUrl: string): boolean {
  const plain = withoutSlashes(audience);
  return (
    AZURE_AUDIENCES.has(plain) || plain === baseUrl.toLowerCase() || isLoopbackOf(plain, baseUrl)
  );
}

export function withoutSlashes(audience: string): string {
  return audience.replace(/\/+$/, '').toLowerCase();
}

/** `localhost`, `127.0.0.1` and `[::1]` at our port are us, whichever the client used. */
function isLoopbackOf(audience: string, baseUrl: string): boolean {
  const { port } = new URL(baseUrl);
  return ['localhost', '127.0.0.1', '[::1]'].some((host) => audience === `https://${host}:${port}`);
}
