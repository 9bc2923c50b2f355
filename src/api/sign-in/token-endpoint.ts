/**
 * Signing in with a client id and a secret (OAuth 2.0, client credentials, RFC 6749 §4.4), where ADFS has it
 * (`/adfs`) and where Entra has it (`/{tenant}`), and the documents by which clients find it.
 */
import { z } from 'zod';
import { isHoldfastError } from '#base';
import { errorAnswer } from '../http-errors.ts';
import { ok, route, type ApiAnswer, type ApiRequest } from '../frame/route.ts';
import { audienceOf } from './audience.ts';

const FORM = z.looseObject({
  grant_type: z.string().optional(),
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
  scope: z.string().optional(),
  resource: z.string().optional(),
});

const ADFS = 'adfs';

type TokenRequest = ApiRequest<{ readonly tenant: string }, z.infer<typeof FORM>>;
type TenantRequest = ApiRequest<{ readonly tenant: string }, unknown>;

const tokenRoute = <const Path extends `/{tenant}/${string}`>(path: Path) =>
  route({
    method: 'POST',
    path,
    summary: 'Signs in',
    isPublic: true,
    bodyKind: 'form',
    body: FORM,
    handle: async (request) => await signIn(request as unknown as TokenRequest),
  });

const configurationRoute = <const Path extends `/{tenant}/${string}`>(path: Path) =>
  route({
    method: 'GET',
    path,
    summary: 'Tells where to sign in',
    isPublic: true,
    handle: async (request) => configuration(request as unknown as TenantRequest),
  });

export const tokenRoutes = [
  tokenRoute('/{tenant}/oauth2/token'),
  tokenRoute('/{tenant}/oauth2/v2.0/token'),
  configurationRoute('/{tenant}/.well-known/openid-configuration'),
  configurationRoute('/{tenant}/v2.0/.well-known/openid-configuration'),
  route({
    method: 'GET',
    path: '/{tenant}/discovery/keys',
    summary: 'Shows the key that tokens are signed with',
    isPublic: true,
    handle: async ({ access }) => ok({ keys: [access.publicKey] }),
  }),
];

function configuration(request: TenantRequest): ApiAnswer {
  const { baseUrl, access, params } = request;
  if (!isOurs(request)) return refused('invalid_tenant', `There is no tenant '${params.tenant}'.`);
  const at = `${baseUrl}/${params.tenant}`;
  return ok({
    issuer: params.tenant.toLowerCase() === ADFS ? at : `${at}/v2.0`,
    authorization_endpoint: `${at}/oauth2/authorize`,
    token_endpoint: `${at}/oauth2/token`,
    jwks_uri: `${at}/discovery/keys`,
    token_endpoint_auth_methods_supported: ['client_secret_post'],
    grant_types_supported: ['client_credentials'],
    response_types_supported: ['token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    tenant_region_scope: null,
    cloud_instance_name: new URL(baseUrl).host,
    tid: access.tenantId,
  });
}

async function signIn(request: TokenRequest): Promise<ApiAnswer> {
  const { access, body, baseUrl, address, params, service } = request;
  const { grant_type, client_id: clientId, client_secret: clientSecret } = body;
  if (!isOurs(request)) return refused('invalid_tenant', `There is no tenant '${params.tenant}'.`);
  if (grant_type !== 'client_credentials') {
    return refused('unsupported_grant_type', 'grant_type must be client_credentials.');
  }
  if (clientId === undefined || clientSecret === undefined) {
    return refused('invalid_request', 'client_id and client_secret are required.');
  }
  const audience = audienceOf(body, baseUrl);
  if (audience === undefined) {
    return refused('invalid_scope', `Tokens are given for ${baseUrl}/.default only.`);
  }
  try {
    const signedIn = await access.signIn({ clientId, clientSecret, address, audience });
    const { token, expiresAtMs } = signedIn;
    const expires_in = Math.floor((expiresAtMs - service.clock.nowMs()) / 1000);
    return ok({
      token_type: 'Bearer',
      expires_in,
      ext_expires_in: expires_in,
      access_token: token,
    });
  } catch (error) {
    return oauthRefusal(error);
  }
}

/** @throws what is no refusal of the sign-in. */
export function oauthRefusal(error: unknown): ApiAnswer {
  const isRefusal =
    isHoldfastError(error, 'SignInRefused') || isHoldfastError(error, 'SignInDelayed');
  if (!isRefusal) throw error;
  const { status, headers } = errorAnswer(error)!;
  const code = error.code === 'SignInRefused' ? 'invalid_client' : 'slow_down';
  return { ...refused(code, error.message), status, headers };
}

function refused(error: string, error_description: string): ApiAnswer {
  return { status: 400, body: { error, error_description } };
}

function isOurs({ params, access }: TenantRequest): boolean {
  return [ADFS, access.tenantId].includes(params.tenant.toLowerCase());
}
