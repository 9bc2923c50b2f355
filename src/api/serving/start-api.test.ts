import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { isHoldfastError, realClock } from '#base';
import { openService } from '#service';
import { makeLog } from './log.ts';
import { startApi } from './start-api.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-start-'));
  t.after(async () => await rm(path, { recursive: true, force: true }));
  return path;
}

async function open(t: TestContext, data: string, log: string[] = []) {
  const clock = realClock();
  const service = await openService({
    data,
    clock,
    random: (sizeBytes) => randomBytes(sizeBytes),
    version: 'test',
    process: { host: 'test', pid: process.pid, command: 'test' },
    settings: { repositoryIdleMs: 100 },
    log: makeLog(clock, { write: (line) => log.push(line) }),
  });
  t.after(service.close);
  return service;
}

const PLACE = { host: '127.0.0.1', port: 0, machine: 'test', hasManagedIdentity: false };

type Asked = { readonly url: string; readonly caFile: string | undefined };

async function get({ url, caFile }: Asked, path: string): Promise<number | undefined> {
  const ca = readFileSync(caFile!);
  return await new Promise((resolve, reject) => {
    const asked = request(`${url}${path}`, { ca, agent: false }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode));
    });
    asked.on('error', reject).end();
  });
}

/** What a raw client gets for `text`, until the server ends the connection. */
async function raw({ url, caFile }: Asked, text: string): Promise<string> {
  const { hostname: host, port } = new URL(url);
  const socket = connectTls({ host, port: Number(port), ca: readFileSync(caFile!) });
  let told = '';
  socket.on('data', (bytes) => (told += String(bytes)));
  socket.write(text);
  return await new Promise((resolve) => {
    socket.on('close', () => resolve(told)).on('error', () => resolve(told));
  });
}

test('the first start writes an account, later ones keep it; where the API listens is told while it does', async (t) => {
  const data = await folder(t);
  const service = await open(t, data);
  const api = await startApi(service, PLACE);
  const account = JSON.parse(readFileSync(api.adminFile, 'utf8')) as Record<string, string>;
  assert.deepEqual(Object.keys(account).toSorted(), [
    'caFile',
    'clientId',
    'clientSecret',
    'subscriptionId',
    'tenantId',
    'url',
  ]);
  assert.deepEqual([api.isFirstStart, account['url']], [true, api.url]);
  for (const name of ['admin.json', 'state.json', 'token.key', 'master.key']) {
    assert.equal(statSync(join(data, name)).mode & 0o777, 0o600, name);
  }
  assert.equal(await get(api, '/healthz'), 200);
  assert.equal(await get(api, '/subscriptions?api-version=2022-12-01'), 401);
  await api.close();
  assert.equal(existsSync(join(data, 'state.json')), false);
  const again = await startApi(service, PLACE);
  t.after(again.close);
  const kept = JSON.parse(readFileSync(again.adminFile, 'utf8')) as Record<string, string>;
  assert.deepEqual(kept, { ...account, url: again.url });
  assert.equal(again.isFirstStart, false);
});

test('a port that is taken is said, and nothing is left listening', async (t) => {
  const service = await open(t, await folder(t));
  const api = await startApi(service, PLACE);
  t.after(api.close);
  const { port } = new URL(api.url);
  const second = startApi(service, { ...PLACE, port: Number(port) });
  await assert.rejects(second, (error) => {
    assert.match(String(error), /listens there already, perhaps another holdfast serve/);
    return isHoldfastError(error, 'ListenFailed');
  });
});

test('clients that send too much, nonsense, or nothing are cut off', async (t) => {
  const service = await open(t, await folder(t));
  const api = await startApi(service, { ...PLACE, limits: { requestMs: 1000 } });
  t.after(api.close);
  const head = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n';
  assert.match(await raw(api, `${head}X-Long: ${'x'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1.1 431/);
  assert.match(await raw(api, 'nonsense\r\n\r\n'), /^HTTP\/1.1 400/);
  const smuggled = `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`;
  assert.match(await raw(api, smuggled), /^HTTP\/1.1 400/);
  // One that never ends its headers, and one that never sends its body.
  assert.match(await raw(api, head), /^(HTTP\/1.1 408|$)/);
  const post = 'POST /adfs/oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n';
  assert.match(await raw(api, post), /^(HTTP\/1.1 408|$)/);
  assert.equal(await get(api, '/healthz'), 200);
});

test('closing ends requests that never end', async (t) => {
  const service = await open(t, await folder(t));
  const api = await startApi(service, PLACE);
  const hanging = raw(api, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n');
  assert.equal(await get(api, '/healthz'), 200);
  await api.close();
  assert.equal(await hanging, '');
});
