import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openApiDocument } from './openapi.ts';
import { ROUTES } from './routes.ts';
import { testApi } from './testing/test-api.ts';

const FILE = 'docs/openapi.json';
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, object>>>> };

/** To write it anew: HOLDFAST_WRITE_OPENAPI=1 and this test, then oxfmt docs. */
test('docs/openapi.json is what the routes say', async () => {
  const document = JSON.parse(JSON.stringify(openApiDocument(ROUTES, version))) as Document;
  if (process.env['HOLDFAST_WRITE_OPENAPI'] === '1') {
    const { writeFile } = await import('node:fs/promises');
    await writeFile(FILE, `${JSON.stringify(document, null, 2)}\n`);
  }
  assert.deepEqual(JSON.parse(readFileSync(FILE, 'utf8')), document);
});

test('the document that is served has every route of Holdfast’s own, and no other', async (t) => {
  const api = await testApi(t);
  const { body } = await api.call('GET', '/openapi.json', { query: '' });
  const described = Object.entries((body as Document).paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const own = ROUTES.filter(({ path }) => /holdfast\.backup/i.test(path));
  assert.deepEqual(
    described.toSorted(),
    own.map(({ method, path }) => `${method} ${path}`).toSorted(),
  );
  for (const one of own) {
    assert.ok(
      api.app.hasRoute({ method: one.method, url: one.path.replaceAll(/\{(\w+)\}/g, ':$1') }),
    );
  }
});

test('no two routes are the same, whatever the case and the names of their parameters', () => {
  const keys = ROUTES.map(({ method, path }) =>
    `${method} ${path}`.toLowerCase().replaceAll(/\{\w+\}/g, '{}'),
  );
  assert.deepEqual(
    keys.filter((key, index) => keys.indexOf(key) !== index),
    [],
  );
});
