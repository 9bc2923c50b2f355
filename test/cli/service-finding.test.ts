/** How commands find the service, and what they say where there is none, or not the right one. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, type Run } from './holdfast.ts';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { folder, data, url, images, text, fails } = service;
addVm(service, 'web');
await text('host', 'add', 'lab', '--connect', `images:${images}`);

type Admin = Readonly<Record<'tenantId' | 'subscriptionId' | 'clientId' | 'clientSecret', string>>;
const admin = JSON.parse(readFileSync(join(data, 'admin.json'), 'utf8')) as Admin;
const remote = {
  HOLDFAST_DATA: '',
  HOLDFAST_URL: url,
  HOLDFAST_CA_FILE: join(data, 'ca.pem'),
  HOLDFAST_TENANT_ID: admin.tenantId,
  HOLDFAST_SUBSCRIPTION_ID: admin.subscriptionId,
  HOLDFAST_CLIENT_ID: admin.clientId,
  HOLDFAST_CLIENT_SECRET: admin.clientSecret,
};

async function list(variables: Readonly<Record<string, string>>, ...more: string[]): Promise<Run> {
  return await run(['vm', 'list', ...more], { variables, password: null });
}

async function refused(variables: Readonly<Record<string, string>>, says: RegExp): Promise<void> {
  const { code, stdout, stderr } = await run(['vault', 'list'], { variables, password: null });
  assert.match(stderr, /^holdfast: [^\n]* \[\w+\]\n$/);
  assert.match(stderr, says);
  assert.deepEqual([code, stdout], [1, '']);
}

test('the service is found by --data, by HOLDFAST_DATA, by HOLDFAST_URL, and where npm start has it', async () => {
  const nowhere = { HOLDFAST_DATA: '', XDG_STATE_HOME: join(folder, 'none') };
  for (const found of [
    await list(nowhere, '--data', data),
    await list({ HOLDFAST_DATA: data }),
    await list(remote),
  ]) {
    assert.match(found.stdout, /^web +lab/m, found.stderr);
  }
  const state = join(folder, 'state');
  mkdirSync(join(state, 'holdfast'), { recursive: true });
  writeFileSync(
    join(state, 'holdfast', 'admin.json'),
    JSON.stringify({ ...admin, url, caFile: join(data, 'ca.pem') }),
  );
  const usual = await list({ HOLDFAST_DATA: '', XDG_STATE_HOME: state });
  assert.match(usual.stdout, /^web +lab/m, usual.stderr);
});

test('a first start that cannot listen leaves nothing behind; a later one says who has the folder', async () => {
  const { host } = new URL(url);
  const other = join(folder, 'new');
  const listen = host.replace('localhost', '127.0.0.1');
  const taken = await run(['serve', '--data', other, '--listen', listen], { password: null });
  assert.match(
    taken.stderr,
    /^holdfast: cannot listen at .*something listens.*\[ListenFailed\]\n$/,
  );
  assert.deepEqual([taken.code, existsSync(other)], [1, false]);
  const again = await run(['serve', '--data', data, '--listen', listen], { password: null });
  assert.match(again.stderr, /\[DataFolderHeld\]\n$/);
});

test('a data folder or storage account that is a file, or cannot be made, is refused in plain words', async () => {
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  for (const [wrong, why] of [
    [file, 'it is a file, no folder'],
    [join(file, 'below'), 'it, or what is above it, is a file, no folder'],
    ['/proc/holdfast', 'it is not there, and no folder can be made there'],
  ] as const) {
    const started = await run(['serve', '--data', wrong], { password: null });
    assert.equal(
      started.stderr,
      `holdfast: ${wrong} cannot be the data folder: ${why}; give --data another folder [StoreReadOnly]\n`,
    );
    const said = new RegExp(`^holdfast: ${wrong} cannot be .*: ${why}; give one that the service`);
    await fails(['storage-account', 'add', 'store', '--path', wrong], 1, said);
  }
});

test('no service, an incomplete address or one without https: one line that says what to do', async () => {
  const nowhere = { HOLDFAST_DATA: '', HOLDFAST_URL: '', XDG_STATE_HOME: join(folder, 'none') };
  await refused(nowhere, /no service is known here: give --data .*\[ServiceNotFound\]/);
  await refused({ HOLDFAST_DATA: join(folder, 'none') }, /no admin\.json.*\[ServiceNotFound\]/);
  const { HOLDFAST_CLIENT_SECRET: _, ...incomplete } = remote;
  await refused({ ...incomplete, HOLDFAST_CLIENT_SECRET: '' }, /but not HOLDFAST_CLIENT_SECRET/);
  await refused({ ...remote, HOLDFAST_URL: 'http://localhost:1' }, /is not https/);
  await refused(
    { ...remote, HOLDFAST_CA_FILE: join(folder, 'none.pem') },
    /cannot read the authority/,
  );
});

test('a service that does not run, a wrong secret, an authority that is not trusted', async () => {
  const idle = { ...remote, HOLDFAST_URL: 'https://localhost:1' };
  await refused(
    idle,
    /no service answers at https:\/\/localhost:1 .*start it with holdfast serve.*\[ServiceUnavailable\]/,
  );
  await refused(
    { ...remote, HOLDFAST_CLIENT_SECRET: 'wrong' },
    /refuses the client id or the secret of HOLDFAST_CLIENT_ID and HOLDFAST_CLIENT_SECRET.*\[SignInRefused\]/,
  );
  await refused(
    { ...remote, HOLDFAST_CA_FILE: '' },
    /not of an authority that is trusted here.*\[ServiceUnavailable\]/,
  );
  await refused(
    { ...remote, HOLDFAST_URL: 'https://no-such-machine.invalid:8443' },
    /there is no machine no-such-machine\.invalid.*correct the name.*\[ServiceUnavailable\]/,
  );
  const other = join(folder, 'other');
  mkdirSync(other);
  const changed = { ...admin, url, caFile: join(data, 'ca.pem'), clientSecret: 'old' };
  writeFileSync(join(other, 'admin.json'), JSON.stringify(changed));
  await refused(
    { HOLDFAST_DATA: other },
    new RegExp(`secret of ${join(other, 'admin.json')}: .*holdfast principal rotate`),
  );
});

test('with --json a refusal is one document, too', async () => {
  const { code, stdout } = await run(['vm', 'show', 'none', '--json'], {
    variables: { HOLDFAST_DATA: data },
    password: null,
  });
  assert.equal(code, 1);
  const { error } = JSON.parse(stdout) as { error: { code: string } };
  assert.equal(error.code, 'ResourceNotFound');
});

test('completion knows commands, options and names, and says nothing where it cannot', async () => {
  const words = async (...typed: string[]): Promise<string[]> =>
    (await text('__complete', '--', ...typed)).split('\n').filter((word) => word !== '');
  await text('vault', 'create', 'v1');
  await text('protect', 'web');
  assert.ok((await words('')).includes('protect'));
  assert.deepEqual(await words('vault', 'rec'), ['recovery-key']);
  assert.deepEqual(await words('backup', ''), ['web']);
  assert.deepEqual(await words('backup', 'web', '--va'), ['--vault']);
  assert.deepEqual(await words('backup', 'web', '--vault', ''), ['v1']);
  assert.deepEqual(await words('protect', 'web', '--vault=v1', '--policy', ''), ['DefaultPolicy']);
  assert.deepEqual(await words('protect', 'web', '--vault=v'), ['--vault=v1']);
  assert.deepEqual(await words('restore', 'web', ''), ['latest']);
  assert.deepEqual(await words('host', 'show', 'l'), ['lab']);
  assert.deepEqual(await words('vault', 'set', 'v1', '--soft-delete', 'o'), ['on', 'off']);
  assert.deepEqual(await words('repo', 'points', ''), []);
  const variables = { HOLDFAST_DATA: join(folder, 'none') };
  const lost = await run(['__complete', '--', 'backup', ''], { variables, password: null });
  assert.deepEqual([lost.code, lost.stdout, lost.stderr], [0, '', '']);
});

test('there are scripts for the shells that there are tests for, and for no other', async () => {
  assert.match(await text('completion', 'zsh'), /^#compdef holdfast/);
  await fails(['completion', 'tcsh'], 2, /bash, zsh, fish/);
});
