import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { HOST, testApi, type TestApi } from '../testing/test-api.ts';

const FORM = 'application/x-www-form-urlencoded';

async function post(api: TestApi, path: string, fields: Readonly<Record<string, string>>) {
  const payload = new URLSearchParams(fields).toString();
  return await api.call('POST', path, {
    payload,
    query: '',
    headers: { 'content-type': FORM, authorization: '' },
  });
}

const credentials = ({ clientId, clientSecret }: TestApi) => ({
  grant_type: 'client_credentials',
  client_id: clientId,
  client_secret: clientSecret,
});

test('the way that az goes leads to a token: configuration, token, keys', async (t) => {
  const api = await testApi(t);
  const bare = { query: '', headers: { authorization: '' } };
  const { body: metadata } = await api.call('GET', '/metadata/endpoints', {
    ...bare,
    query: 'api-version=2015-01-01',
  });
  const authority = new URL(metadata.authentication.loginEndpoint as string).pathname;
  assert.equal(authority, '/adfs');
  const configuration = await api.call(
    'GET',
    `${authority}/.well-known/openid-configuration`,
    bare,
  );
  assert.equal(configuration.body.token_endpoint, `https://${HOST}/adfs/oauth2/token`);
  const { status, body } = await post(api, '/adfs/oauth2/token', {
    ...credentials(api),
    client_info: '1',
    scope: `https://${HOST}/.default`,
  });
  assert.equal(status, 200);
  assert.equal(body.token_type, 'Bearer');
  assert.ok(body.expires_in > 3500 && body.expires_in <= 3600);
  const authorization = `Bearer ${body.access_token}`;
  assert.equal(
    (await api.call('GET', '/subscriptions', { headers: { authorization } })).status,
    200,
  );
  const keys = await api.call('GET', new URL(configuration.body.jwks_uri).pathname, bare);
  await jwtVerify(body.access_token, createLocalJWKSet(keys.body));
});

test('Entra’s paths work as well, with the tenant that there is', async (t) => {
  const api = await testApi(t);
  const { tenantId } = api.access;
  const fields = { ...credentials(api), scope: 'https://management.azure.com//.default' };
  assert.equal((await post(api, `/${tenantId}/oauth2/v2.0/token`, fields)).status, 200);
  const other = await post(api, '/11111111-1111-1111-1111-111111111111/oauth2/v2.0/token', fields);
  assert.deepEqual([other.status, other.body.error], [400, 'invalid_tenant']);
});

test('wrong requests for a token are refused in the words of OAuth', async (t) => {
  const api = await testApi(t);
  const right = credentials(api);
  const cases: readonly (readonly [Record<string, string>, number, string])[] = [
    [{ ...right, client_secret: 'x' }, 401, 'invalid_client'],
    [{ ...right, client_id: 'x' }, 401, 'invalid_client'],
    [{ grant_type: 'client_credentials', client_id: 'x' }, 400, 'invalid_request'],
    [{ ...right, grant_type: 'password' }, 400, 'unsupported_grant_type'],
    [{ ...right, scope: 'https://graph.microsoft.com/.default' }, 400, 'invalid_scope'],
  ];
  for (const [fields, status, error] of cases) {
    const answer = await post(api, '/adfs/oauth2/token', fields);
    assert.deepEqual([answer.status, answer.body.error], [status, error]);
    assert.equal(typeof answer.body.error_description, 'string');
  }
});

test('managed identities are off, need a secret where they are on, and are for this machine only', async (t) => {
  const off = await testApi(t);
  const query = `resource=https://${HOST}&api-version=2017-09-01`;
  const get = async (api: TestApi, headers: Readonly<Record<string, string>>) =>
    await api.call('GET', '/msi/token/', { query, headers: { authorization: '', ...headers } });
  assert.equal((await get(off, { secret: 'x' })).status, 404);

  const api = await testApi(t, { hasManagedIdentity: true });
  const secret = `${api.clientId}:${api.clientSecret}`;
  assert.equal((await get(api, {})).status, 401);
  assert.equal((await get(api, { secret: `${api.clientId}:x` })).status, 401);
  for (const headers of [{ secret }, { 'x-identity-header': secret }]) {
    const { status, body } = await get(api, headers);
    assert.equal(status, 200);
    assert.match(body.expires_on, /^\d{10}$/);
    const authorization = `Bearer ${body.access_token}`;
    assert.equal((await api.call('GET', '/tenants', { headers: { authorization } })).status, 200);
  }
  const cloudShell = await api.call('POST', '/msi/token', {
    payload: `resource=${encodeURIComponent(`https://${HOST}`)}`,
    query: '',
    headers: { 'content-type': FORM, metadata: 'true', secret, authorization: '' },
  });
  assert.equal(cloudShell.status, 200);
  const remote = await api.app.inject({
    url: `/msi/token?${query}`,
    headers: { host: HOST, secret },
    remoteAddress: '10.0.0.7',
  });
  assert.equal(remote.statusCode, 403);
});

test('no secret and no token is in the log, whatever is asked', async (t) => {
  const api = await testApi(t, { hasManagedIdentity: true });
  const { clientId, clientSecret } = api;
  await post(api, '/adfs/oauth2/token', credentials(api));
  await post(api, '/adfs/oauth2/token', { ...credentials(api), client_id: clientSecret });
  await api.call('GET', '/msi/token', { headers: { secret: `${clientId}:${clientSecret}` } });
  await api.call('GET', '/subscriptions', {
    query: `api-version=2023-06-01&secret=${clientSecret}`,
  });
  const created = await api.call(
    'POST',
    `${api.subscription}/providers/Holdfast.Backup/servicePrincipals`,
    { body: { properties: { displayName: 'second' } } },
  );
  const secrets = [clientSecret, api.token, created.body.properties.clientSecret as string];
  api.service.log.info({ token: api.token, inner: { clientSecret } }, 'a careless line');
  assert.ok(api.logged.length >= 6);
  for (const secret of secrets) {
    assert.ok(secret.length > 20 && !api.logged.some((line) => line.includes(secret)));
  }
  const listed = await api.call(
    'GET',
    `${api.subscription}/providers/Holdfast.Backup/servicePrincipals`,
  );
  assert.equal(listed.body.value.length, 2);
  assert.doesNotMatch(JSON.stringify(listed.body), /secret/i);
});
