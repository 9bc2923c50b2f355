import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { FakeClock } from '#base';
import { testApi } from '../testing/test-api.ts';
import { listAnswer } from './paging.ts';
import { ok, route } from './route.ts';

const NUMBERS = Array.from({ length: 7 }, (_, index) => ({ id: `n${index}` }));

const ROUTES = [
  route({
    method: 'GET',
    path: '/numbers',
    summary: 'A list',
    handle: async (request) => listAnswer(request, NUMBERS),
  }),
  route({
    method: 'PUT',
    path: '/echo/{name}',
    summary: 'What came',
    body: z.looseObject({ count: z.int().optional() }),
    handle: async ({ params, body, path }) => ok({ params, body, path }),
  }),
  route({
    method: 'GET',
    path: '/bug',
    summary: 'Fails',
    handle: async () => {
      throw new TypeError('secret detail');
    },
  }),
];

test('nothing but what is public answers without a valid token, unknown paths neither', async (t) => {
  const api = await testApi(t);
  const paths = [
    '/subscriptions',
    '/nothing',
    '/openapi.json',
    `${api.subscription}/resourceGroups`,
  ];
  for (const authorization of ['', 'Bearer x', 'Basic eDp5', `Bearer ${api.token}x`]) {
    for (const path of paths) {
      for (const method of ['GET', 'DELETE', 'PUT']) {
        const answer = await api.call(method, path, { headers: { authorization } });
        assert.equal(answer.status, 401, `${method} ${path}`);
        assert.match(String(answer.headers['www-authenticate']), /^Bearer /);
        assert.match(answer.body.error.code, /^(AuthenticationFailed|InvalidAuthenticationToken)$/);
      }
    }
  }
  for (const path of [
    '/healthz',
    '/metadata/endpoints',
    '/adfs/.well-known/openid-configuration',
  ]) {
    const answer = await api.call('GET', path, { query: '', headers: { authorization: '' } });
    assert.equal(answer.status, 200, path);
  }
});

test('a token for another API is refused; those for this one and for Azure’s are taken', async (t) => {
  const api = await testApi(t);
  const { clientId, clientSecret } = api;
  const statusWith = async (audience: string): Promise<number> => {
    const signIn = { clientId, clientSecret, address: '127.0.0.1', audience };
    const { token } = await api.access.signIn(signIn);
    const headers = { authorization: `Bearer ${token}` };
    return (await api.call('GET', '/subscriptions', { headers })).status;
  };
  assert.equal(await statusWith('https://management.azure.com'), 200);
  assert.equal(await statusWith('https://127.0.0.1:8443'), 200);
  assert.equal(await statusWith('https://graph.microsoft.com'), 401);
  assert.equal(await statusWith('https://localhost:9999'), 401);
});

test('paths are matched in any case, with doubled and trailing slashes and encoded semicolons', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  for (const path of ['/ECHO//VM%3BWeb', '/echo/VM;Web/', '//Echo/VM%3bWeb']) {
    const { status, body } = await api.call('PUT', path, { body: {} });
    assert.deepEqual([status, body.params], [200, { name: 'VM;Web' }], path);
  }
});

test('an api-version is needed, and any date is taken', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const codeWith = async (query: string): Promise<unknown> => {
    const { status, body } = await api.call('GET', '/numbers', { query });
    return status === 200 ? 200 : body.error.code;
  };
  assert.equal(await codeWith(''), 'MissingApiVersionParameter');
  assert.equal(await codeWith('api-version='), 'MissingApiVersionParameter');
  assert.equal(await codeWith('api-version=latest'), 'InvalidApiVersionParameter');
  assert.equal(await codeWith('API-Version=2022-09-01-preview'), 200);
  assert.equal(
    await codeWith('api-version=2023-06-01&api-version=2023-06-01'),
    'InvalidQueryParameter',
  );
});

test('a wrong verb is 405 with those that there are, an unknown path 404', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const wrong = await api.call('DELETE', '/numbers');
  assert.deepEqual([wrong.status, wrong.headers['allow']], [405, 'GET']);
  assert.equal((await api.call('GET', '/none')).body.error.code, 'PathNotFound');
});

test('pages are linked by absolute URLs of the host that the client used', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const seen: string[] = [];
  let query = 'api-version=2023-06-01&$top=3';
  let pages = 0;
  for (;;) {
    const { body } = await api.call('GET', '/Numbers', {
      query,
      headers: { host: 'backup.lan:99' },
    });
    seen.push(...body.value.map(({ id }: { id: string }) => id));
    pages += 1;
    if (body.nextLink === undefined) break;
    const link = new URL(body.nextLink as string);
    assert.equal(link.origin + link.pathname, 'https://backup.lan:99/Numbers');
    query = link.search.slice(1);
  }
  assert.deepEqual([seen, pages], [NUMBERS.map(({ id }) => id), 3]);
  for (const wrong of ['$top=0', '$top=x', '$skipToken=e30', '$skiptoken=%00']) {
    const { status } = await api.call('GET', '/numbers', {
      query: `api-version=2023-06-01&${wrong}`,
    });
    assert.equal(status, 400, wrong);
  }
});

test('request ids are given and echoed', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const headers = { 'x-ms-client-request-id': 'abc-1' };
  const answer = await api.call('GET', '/numbers', { headers });
  assert.equal(answer.headers['x-ms-client-request-id'], 'abc-1');
  assert.match(String(answer.headers['x-ms-request-id']), /^[0-9a-f-]{36}$/);
  const hostile = await api.call('GET', '/numbers', {
    headers: { 'x-ms-client-request-id': 'x'.repeat(500) },
  });
  assert.equal(hostile.headers['x-ms-client-request-id'], undefined);
});

test('hosts that are none are refused', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  for (const host of ['a b', 'x/y', 'user@host', '-', 'host:port']) {
    assert.equal((await api.call('GET', '/numbers', { headers: { host } })).status, 400, host);
  }
  assert.equal(
    (await api.call('GET', '/numbers', { headers: { host: '[::1]:8443' } })).status,
    200,
  );
});

test('bodies are bounded, JSON, and of nothing that could do harm', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const refusalOf = async (payload: string | Buffer, type = 'application/json') => {
    const headers = { 'content-type': type };
    const { status, body } = await api.call('PUT', '/echo/x', { payload, headers });
    return [status, body.error?.code];
  };
  const invalid = [400, 'InvalidRequestContent'];
  const wrong = [
    '',
    '{',
    'null',
    '[]',
    '{"count":1e400}',
    '{"count":1.5}',
    '{"count":"1"}',
    '{"__proto__":{"admin":true}}',
    '{"a":{"constructor":{}}}',
    String.raw`{"a":"\ud800"}`,
    String.raw`{"a\u0000":1}`,
    '{"a":'.repeat(1000) + '1' + '}'.repeat(1000),
    '['.repeat(500_000),
    Buffer.from([0x7b, 0xff, 0x7d]),
  ];
  for (const one of wrong)
    assert.deepEqual(await refusalOf(one), invalid, String(one).slice(0, 60));
  assert.deepEqual(await refusalOf('{}', 'text/plain'), [415, 'UnsupportedMediaType']);
  assert.deepEqual(await refusalOf(`{"a":"${'x'.repeat(1_100_000)}"}`), [413, 'RequestTooLarge']);
  assert.deepEqual(await refusalOf('{}', 'application/json; charset=utf-8'), [200, undefined]);
});

test('paths that cannot be decoded, have control characters or are endless are refused', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  assert.equal((await api.call('PUT', '/echo/%zz', { body: {} })).status, 400);
  assert.equal((await api.call('PUT', '/echo/%00', { body: {} })).status, 400);
  assert.equal((await api.call('PUT', `/echo/${'x'.repeat(9000)}`, { body: {} })).status, 414);
  assert.equal((await api.call('PUT', `/echo/${'x'.repeat(600)}`, { body: {} })).status, 414);
});

test('a client that asks too much is told to wait, others are not held up', async (t) => {
  const clock = new FakeClock();
  const perAccount = { burst: 3, perSecond: 1 };
  const perAddress = { burst: 2, perSecond: 1 };
  const api = await testApi(t, { routes: ROUTES, clock, limits: { perAccount, perAddress } });
  const ask = async () => await api.call('GET', '/numbers');
  for (let count = 0; count < 3; count += 1) assert.equal((await ask()).status, 200);
  const slow = await ask();
  assert.deepEqual([slow.status, slow.headers['retry-after']], [429, '1']);
  const anonymous = async () =>
    (await api.call('GET', '/numbers', { headers: { authorization: '' } })).status;
  assert.deepEqual([await anonymous(), await anonymous(), await anonymous()], [401, 401, 429]);
  clock.advance(2000);
  assert.equal((await ask()).status, 200);
});

test('a bug is a 500 that tells nothing but where to look', async (t) => {
  const api = await testApi(t, { routes: ROUTES });
  const { status, body, headers } = await api.call('GET', '/bug');
  assert.equal(status, 500);
  assert.doesNotMatch(JSON.stringify(body), /secret detail/);
  const id = String(headers['x-ms-request-id']);
  assert.match(body.error.message, new RegExp(id));
  assert.ok(api.logged.some((line) => line.includes(id) && line.includes('secret detail')));
});
