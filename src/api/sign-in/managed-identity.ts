/**
 * Tokens for processes of this machine, in the ways of Azure's managed identities: App Service's (header `secret` or
 * `X-IDENTITY-HEADER`) and Cloud Shell's (a form). Off unless asked for; only on the loopback; and never without a
 * secret, which is `<client id>:<client secret>` of a service principal.
 */
import { z } from 'zod';
import { ok, route, type ApiAnswer, type ApiRequest } from '../frame/route.ts';
import { Refusal } from '../frame/refusal.ts';
import { audienceOf } from './audience.ts';
import { oauthRefusal } from './token-endpoint.ts';

const FORM = z.looseObject({ resource: z.string().optional() });
const PATH = '/msi/token';

export const managedIdentityRoutes = [
  route({
    method: 'GET',
    path: PATH,
    summary: 'Gives a token to a process of this machine',
    isPublic: true,
    handle: async (request) => await giveToken(request, request.query.get('resource')),
  }),
  route({
    method: 'POST',
    path: PATH,
    summary: 'Gives a token to a process of this machine',
    isPublic: true,
    bodyKind: 'form',
    body: FORM,
    handle: async (request) => await giveToken(request, request.body.resource),
  }),
];

async function giveToken(
  request: ApiRequest<unknown, unknown>,
  resource: string | undefined,
): Promise<ApiAnswer> {
  const { access, address, baseUrl, headers, hasManagedIdentity } = request;
  if (!hasManagedIdentity) throw new Refusal('PathNotFound', 'There is nothing at this path.');
  if (!isLoopback(address)) {
    throw new Refusal('AuthorizationFailed', 'Managed identities are for this machine only.');
  }
  const secret = headers['x-identity-header'] ?? headers['secret'];
  const [, clientId, clientSecret] = /^([^:]{1,64}):(.{1,256})$/.exec(String(secret ?? '')) ?? [];
  const audience = audienceOf({ resource }, baseUrl);
  if (clientId === undefined || clientSecret === undefined) {
    return refusal(401, 'invalid_client', 'The header secret or X-IDENTITY-HEADER is missing.');
  }
  if (audience === undefined) {
    return refusal(400, 'invalid_resource', `Tokens are given for ${baseUrl} only.`);
  }
  try {
    const signedIn = await access.signIn({ clientId, clientSecret, address, audience });
    const expiresOn = Math.floor(signedIn.expiresAtMs / 1000);
    const expiresIn = expiresOn - Math.floor(request.service.clock.nowMs() / 1000);
    return ok({
      access_token: signedIn.token,
      token_type: 'Bearer',
      expires_on: String(expiresOn),
      expires_in: String(expiresIn),
      resource: audience,
      client_id: clientId,
    });
  } catch (error) {
    return oauthRefusal(error);
  }
}

function refusal(status: number, error: string, error_description: string): ApiAnswer {
  return { status, body: { error, error_description } };
}

function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$|^::1$/.test(address);
}
