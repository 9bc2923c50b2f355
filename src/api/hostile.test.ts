/** Whatever comes to whatever route: an answer below 500, and no wait without end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Route } from './frame/route.ts';
import { ROUTES } from './routes.ts';
import { arbitraryBody, hostileText } from './testing/arbitrary-body.ts';
import { testApi, type TestApi } from './testing/test-api.ts';

const IS_LONG = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const CASES = IS_LONG ? 10_000 : 2000;
const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const VAULT = 'providers/Microsoft.RecoveryServices/vaults/v';

type Case = {
  readonly route: Route;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string | Buffer | undefined;
};

/** Names that are there, so that requests get far. */
const known = (api: TestApi): Readonly<Record<string, string>> => ({
  subscription: api.access.subscriptionId,
  group: 'site',
  vault: 'v',
  vm: 'web',
  policy: 'DefaultPolicy',
  host: 'site',
  account: 'disks',
  fabric: 'Azure',
  container: 'IaasVMContainer;iaasvmcontainerv2;site;web',
  item: 'VM;iaasvmcontainerv2;site;web',
  location: 'local',
  tenant: 'adfs',
});

function arbitraryCase(api: TestApi, route: Route): fc.Arbitrary<Case> {
  const names = known(api);
  const path = fc.tuple(
    ...segmentsOf(route.path).map((segment) => arbitrarySegment(segment, names)),
  );
  const right = { weight: 8, arbitrary: fc.constant<string>(route.method) };
  const body = fc.oneof(
    { weight: 9, arbitrary: arbitraryBody(route.body).map((value) => toPayload(route, value)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
  );
  return fc.record({
    route: fc.constant(route),
    method: fc.oneof(right, { weight: 1, arbitrary: fc.constantFrom(...METHODS) }),
    path: path.map((segments) => `/${segments.join('/')}`),
    query: arbitraryQuery(),
    headers: arbitraryHeaders(route),
    payload: body,
  });
}

function segmentsOf(path: string): readonly string[] {
  return path.split('/').slice(1);
}

function arbitrarySegment(
  segment: string,
  names: Readonly<Record<string, string>>,
): fc.Arbitrary<string> {
  const name = /^\{(\w+)\}$/.exec(segment)?.[1];
  if (name === undefined) return fc.constant(segment);
  const hostile = fc.oneof(
    hostileText.map((text) => encodeURIComponent(text.toWellFormed())),
    fc.constantFrom('%', '%00', '%ff', '%2e%2e', '..%2f..', ';', 'a;b;c;d;e'),
  );
  const usual = names[name] ?? 'x';
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant(encodeURIComponent(usual)) },
    { weight: 1, arbitrary: hostile },
  );
}

function arbitraryQuery(): fc.Arbitrary<string> {
  const parameter = fc.tuple(
    fc.constantFrom('$filter', '$top', '$skipToken', '$expand', 'api-version', 'resource'),
    fc.oneof(
      hostileText.map((text) => encodeURIComponent(text.toWellFormed())),
      fc.constantFrom(
        '5',
        '-1',
        '%',
        "status eq 'x'",
        "backupManagementType eq 'AzureIaasVM'",
        'instanceView',
      ),
    ),
  );
  return fc
    .array(parameter, { maxLength: 2 })
    .map((pairs) => ['api-version=2023-06-01', ...pairs.map((pair) => pair.join('='))].join('&'));
}

function arbitraryHeaders(route: Route): fc.Arbitrary<Readonly<Record<string, string>>> {
  const type = route.bodyKind === 'form' ? 'application/x-www-form-urlencoded' : 'application/json';
  const text = fc.string({ minLength: 1, maxLength: 30 });
  return fc
    .record(
      {
        'if-match': fc.constantFrom('*', '"1"', 'W/"2"', '"x', '""'),
        'if-none-match': fc.constantFrom('*', '"1"'),
        'x-ms-client-request-id': text,
        'content-type': fc.constantFrom(type, type, type, 'text/plain', '', ';;', `${type};x=y`),
        secret: text,
      },
      { requiredKeys: [] },
    )
    .map((headers) => ({ 'content-type': type, ...headers }));
}

function toPayload(route: Route, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (route.bodyKind !== 'form') return JSON.stringify(value);
  const fields = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const form = new URLSearchParams();
  for (const [name, field] of fields) {
    form.append(name, typeof field === 'string' ? field : JSON.stringify(field));
  }
  return form.toString();
}

/** Requests delete things: what is gone is made again. */
async function restock(api: TestApi, group: string): Promise<void> {
  await api.call('PUT', group, { body: { location: 'local' } });
  await api.call('PUT', `${group}/${VAULT}`, { body: { location: 'local' } });
}

test('hostile requests to every route are answered below 500', async (t) => {
  const api = await testApi(t);
  const group = await api.imagesHost('site', ['web']);
  const statuses = new Map<number, number>();
  const perRoute = Math.ceil(CASES / ROUTES.length);
  for (const route of ROUTES) {
    await restock(api, group);
    const property = fc.asyncProperty(arbitraryCase(api, route), async (one) => {
      const { method, path, query, headers, payload } = one;
      const answer = await api.app.inject({
        method: method as 'GET',
        url: `${path}?${query}`,
        headers: { host: 'localhost:8443', authorization: `Bearer ${api.token}`, ...headers },
        ...(payload === undefined ? {} : { payload }),
      });
      const { statusCode } = answer;
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1);
      const told = `${method} ${path}: ${answer.statusCode} ${answer.payload.slice(0, 300)}`;
      assert.ok(answer.statusCode >= 200 && answer.statusCode < 500, told);
      if (answer.statusCode >= 400 && answer.payload !== '') {
        assert.ok(JSON.parse(answer.payload).error !== undefined, told);
      }
    });
    await fc.assert(property, { numRuns: perRoute });
  }
  // They are hostile, but not so much that nothing gets through.
  t.diagnostic(`answers: ${JSON.stringify(Object.fromEntries(statuses))}`);
  const counts = [200, 400, 404].map((status) => statuses.get(status) ?? 0);
  assert.ok(Math.min(...counts) > CASES / 20, counts.join());
});
