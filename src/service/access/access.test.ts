import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { FakeClock, isHoldfastError, type Clock } from '#base';
import { testService } from '../testing/test-service.ts';
import { openAccess } from './access.ts';
import { createPrincipal, deletePrincipal, listPrincipals, rotateSecret } from './principals.ts';
import { hashSecret, isSecret } from './secret-hash.ts';
import { signInDelays } from './sign-in-delays.ts';
import { openTokens } from './tokens.ts';

const AUDIENCE = 'https://localhost:8443';
const random = (sizeBytes: number): Buffer => randomBytes(sizeBytes);

async function opened(t: TestContext, clock?: Clock) {
  const made = await testService(t, clock === undefined ? {} : { clock });
  const service = made.service();
  const access = await openAccess(service);
  const principal = await createPrincipal(service, 'me');
  const { clientId, clientSecret } = principal;
  const signIn = async (secret = clientSecret, id = clientId) =>
    await access.signIn({
      clientId: id,
      clientSecret: secret,
      address: '10.0.0.1',
      audience: AUDIENCE,
    });
  return { made, service, access, principal, signIn };
}

const refused = (code: 'SignInRefused' | 'SignInDelayed' | 'TokenInvalid') => (error: unknown) =>
  isHoldfastError(error, code);

test('a secret is stored as a salted hash only, and found by nothing but itself', async () => {
  const [one, other] = await Promise.all([hashSecret('s', random), hashSecret('s', random)]);
  assert.notEqual(one, other);
  assert.match(one, /^scrypt\$15\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
  assert.equal(await isSecret('s', one), true);
  assert.equal(await isSecret('S', one), false);
  await assert.rejects(isSecret('s', 'plain'), TypeError);
  await assert.rejects(isSecret('s', one.replace('$15$', '$30$')), TypeError);
});

test('a token of a sign-in carries what clients of Azure look for, and ends within the hour', async (t) => {
  const { access, principal, signIn } = await opened(t);
  const { token, expiresAtMs } = await signIn();
  const claims = decodeJwt(token);
  assert.equal(decodeProtectedHeader(token).alg, 'RS256');
  assert.deepEqual(
    [claims['tid'], claims['oid'], claims['appid'], claims.aud],
    [access.tenantId, principal.clientId, principal.clientId, AUDIENCE],
  );
  assert.equal(claims.exp! - claims.iat!, 3600);
  assert.equal(claims.exp! * 1000, expiresAtMs);
  const { clientId, audience } = await access.verify(token);
  assert.deepEqual([clientId, audience], [principal.clientId, AUDIENCE]);
});

test('a wrong secret and an unknown id are refused in the same words', async (t) => {
  const { signIn } = await opened(t);
  const messages = await Promise.all(
    [signIn('wrong'), signIn(undefined, '00000000-0000-0000-0000-000000000000')].map(
      async (attempt) =>
        await attempt.then(
          () => assert.fail('signed in'),
          (error: Error) => error.message,
        ),
    ),
  );
  assert.equal(messages[0], messages[1]);
});

test('guessing gets slower with each wrong secret, for ids that are not there too; time ends it', async (t) => {
  const clock = new FakeClock();
  const { signIn } = await opened(t, clock);
  const unknown = '00000000-0000-0000-0000-000000000000';
  for (const id of [unknown, undefined]) {
    for (let count = 0; count < 5; count += 1) {
      await assert.rejects(signIn('wrong', id), refused('SignInRefused'));
    }
    await assert.rejects(signIn(undefined, id), refused('SignInDelayed'));
    clock.advance(300_000);
  }
  await signIn();
});

test('waits grow to their most, a right secret forgets them, and what is remembered is bounded', () => {
  const clock = new FakeClock();
  const delays = signInDelays(clock);
  const attempt = { clientId: 'a', address: '10.0.0.1' };
  const waits: number[] = [];
  for (let count = 0; count < 12; count += 1) {
    delays.failed(attempt);
    waits.push(delays.waitMs({ ...attempt, address: 'other' }) / 1000);
  }
  assert.deepEqual(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
  delays.succeeded(attempt);
  assert.equal(delays.waitMs(attempt), 0);
  for (let count = 0; count < 40_000; count += 1) {
    delays.failed({ clientId: `id-${count}`, address: '10.0.0.2' });
  }
  assert.equal(delays.waitMs({ clientId: 'new', address: '10.0.0.2' }), 300_000);
});

test('a token that was changed, is of another service, or has expired is refused', async (t) => {
  const clock = new FakeClock(Date.UTC(2026, 5, 1));
  const { access, signIn, made } = await opened(t, clock);
  const { token } = await signIn();
  const [head, claims, signature] = token.split('.');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const elsewhere = await openTokens({
    keyFile: `${made.data}/other.key`,
    tenantId: access.tenantId,
    clock,
  });
  const foreign = await elsewhere.sign({ clientId: 'x', audience: AUDIENCE });
  const wrong = [
    `${head}.${claims}.${signature!.slice(0, -4)}AAAA`,
    `${none}.${claims}.`,
    `${head}.${Buffer.from('{}').toString('base64url')}.${signature}`,
    foreign.token,
    'nonsense',
    'x'.repeat(100_000),
  ];
  for (const one of wrong) await assert.rejects(access.verify(one), refused('TokenInvalid'));
  clock.advance(3_599_000);
  await access.verify(token);
  clock.advance(2000);
  await assert.rejects(access.verify(token), refused('TokenInvalid'));
});

test('an account that is deleted is refused at once, the last one stays, and a new secret voids the old', async (t) => {
  const { service, access, principal, signIn } = await opened(t);
  await assert.rejects(
    deletePrincipal(service, principal.clientId),
    /is the last service principal/,
  );
  const renewed = await rotateSecret(service, principal.clientId);
  await assert.rejects(signIn(), refused('SignInRefused'));
  const { token } = await signIn(renewed.clientSecret);
  await createPrincipal(service, 'other');
  await deletePrincipal(service, principal.clientId.toUpperCase());
  await assert.rejects(access.verify(token), refused('TokenInvalid'));
  assert.deepEqual(
    (await listPrincipals(service.catalogue.read)).map(({ name }) => name),
    ['other'],
  );
});

test('ids and the key of tokens outlive a restart; the key is for its owner alone', async (t) => {
  const { made, access, signIn } = await opened(t);
  const { token } = await signIn();
  const again = await openAccess(await made.restart());
  assert.deepEqual(
    [again.tenantId, again.subscriptionId],
    [access.tenantId, access.subscriptionId],
  );
  await again.verify(token);
  const keyFile = `${made.data}/token.key`;
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  assert.match(await readFile(keyFile, 'utf8'), /BEGIN PRIVATE KEY/);
  await writeFile(keyFile, 'damaged');
  await assert.rejects(openAccess(made.service()), /is not a private key: delete it/);
});

test('the first account is told before it is there, and made once', async (t) => {
  const made = await testService(t);
  const access = await openAccess(made.service());
  const broken = access.makeFirstPrincipal(async () => {
    throw new Error('disk full');
  });
  await assert.rejects(broken, /disk full/);
  assert.deepEqual(await listPrincipals(made.service().catalogue.read), []);
  const told: string[] = [];
  const first = async () =>
    await access.makeFirstPrincipal(async ({ clientId }) => void told.push(clientId));
  assert.deepEqual([await first(), await first(), told.length], [true, false, 1]);
});
