import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError } from '#base';
import { openTls } from './open-tls.ts';

const DAY_MS = 86_400_000;

async function place(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const files = { authority: join(folder, 'ca.pem'), tls: join(folder, 'tls') };
  await mkdir(files.tls);
  return { folder, files, clock: new FakeClock(Date.UTC(2026, 0, 1)) };
}

test('an authority is made once, and signs a certificate for this machine that clients accept', async (t) => {
  const { files, clock } = await place(t);
  const options = { files, clock, names: ['backup.lan', '10.1.2.3'] };
  const tls = await openTls(options);
  assert.equal(tls.caFile, files.authority);
  const { certificate, key } = await tls.current();
  const server = new X509Certificate(certificate);
  const authority = new X509Certificate(await readFile(files.authority));
  assert.equal(server.verify(authority.publicKey), true);
  assert.equal(server.checkPrivateKey(createPrivateKey(key)), true);
  for (const name of ['localhost', 'backup.lan']) assert.equal(server.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1', '10.1.2.3']) assert.ok(server.checkIP(address));
  assert.equal(server.checkHost('other.lan'), undefined);
  assert.deepEqual([authority.ca, server.ca], [true, false]);
  assert.equal(authority.validToDate.getUTCFullYear(), 2036);
  assert.ok(server.validToDate.getTime() < clock.nowMs() + 365 * DAY_MS);
  for (const name of ['ca.key', 'server.key']) {
    assert.equal((await stat(join(files.tls, name))).mode & 0o777, 0o600);
  }
  assert.deepEqual(await (await openTls(options)).current(), { certificate, key });
});

test('a certificate is made anew before it ends, when a name is missing and when it is damaged', async (t) => {
  const { files, clock } = await place(t);
  const tls = await openTls({ files, clock, names: ['a.lan'] });
  const first = await tls.current();
  clock.advance(200 * DAY_MS);
  assert.deepEqual(await tls.current(), first);
  clock.advance(50 * DAY_MS);
  const second = await tls.current();
  assert.notEqual(second.certificate, first.certificate);
  const named = await (await openTls({ files, clock, names: ['b.lan'] })).current();
  assert.equal(new X509Certificate(named.certificate).checkHost('b.lan'), 'b.lan');
  await writeFile(join(files.tls, 'server.pem'), 'damaged');
  const mended = await (await openTls({ files, clock, names: ['b.lan'] })).current();
  const authority = new X509Certificate(await readFile(files.authority));
  assert.equal(new X509Certificate(mended.certificate).verify(authority.publicKey), true);
});

test('the owner’s certificate is used as it is, and refused with a key that is not its own', async (t) => {
  const { folder, files, clock } = await place(t);
  const made = await (await openTls({ files, clock, names: [] })).current();
  const own = { certificate: join(folder, 'own.pem'), key: join(folder, 'own.key') };
  await writeFile(own.certificate, made.certificate);
  await writeFile(own.key, made.key);
  const tls = await openTls({ files, clock, names: [], own });
  assert.equal(tls.caFile, undefined);
  assert.deepEqual(await tls.current(), made);
  await writeFile(own.key, await readFile(join(files.tls, 'ca.key')));
  const unusable = (error: unknown) => isHoldfastError(error, 'CertificateUnusable');
  await assert.rejects(openTls({ files, clock, names: [], own }), unusable);
  await rm(own.key);
  await assert.rejects(openTls({ files, clock, names: [], own }), unusable);
  await writeFile(join(files.tls, 'ca.key'), 'damaged');
  await assert.rejects(openTls({ files, clock, names: [] }), unusable);
});
