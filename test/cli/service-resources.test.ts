/** Hosts, VMs, storage accounts, vaults, policies and accounts of a service, by its commands. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MEBIBYTE, run } from './holdfast.ts';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { text, json, fails, folder, images } = service;
addVm(service, 'web');
addVm(service, 'db');

test('a host is added, listed, shown, and lists its VMs anew', async () => {
  assert.match(await text('host', 'list'), /There are no hosts: holdfast host add/);
  assert.match(
    await text('host', 'add', 'lab', '--connect', `images:${images}`),
    /^Host lab .*: 2 VMs found in the resource group lab\.\n$/,
  );
  const { hosts } = await json<{ hosts: { name: string; vmCount: number }[] }>('host', 'list');
  assert.deepEqual(
    hosts.map(({ name, vmCount }) => [name, vmCount]),
    [['lab', 2]],
  );
  assert.match(await text('host', 'list'), /^HOST {2}CONNECT +VMS {2}LAST SEEN.*\nlab {3}images:/);
  addVm(service, 'mail');
  assert.match(await text('host', 'refresh', 'LAB'), /^VMs: +3$/m);
  assert.match(await text('host', 'show', 'lab'), /^Connect: +images:/m);
  await fails(['host', 'show', 'nope'], 1, /no host nope; there is lab \[ResourceNotFound\]/);
  await fails(['host', 'add', 'x', '--connect', 'images:/nope'], 1, /\[ArgumentInvalid\]/);
});

test('VMs are those of the service, or with --connect of a hypervisor', async () => {
  const { vms } = await json<{ vms: { name: string; state: string; disks: object[] }[] }>(
    'vm',
    'list',
  );
  assert.deepEqual(
    vms.map(({ name, state, disks }) => [name, state, disks.length]),
    [
      ['db', 'off', 2],
      ['mail', 'off', 2],
      ['web', 'off', 2],
    ],
  );
  assert.match(await text('vm', 'list'), /^db +lab +off +2 +none$/m);
  const shown = await text('vm', 'show', 'web');
  assert.match(
    shown,
    /^DISK +LUN +FORMAT +SIZE +IMAGE\na-system +system +raw +4\.00 MiB +\/.*a-system\.raw$/m,
  );
  assert.match(shown, /^b-data +0 +raw +1\.00 MiB +\//m);
  type Shown = { disks: { name: string; lun?: number; size: number }[] };
  const { disks } = await json<Shown>('vm', 'show', 'web');
  assert.deepEqual(
    disks.map(({ name, lun, size }) => [name, lun, size]),
    [
      ['a-system', undefined, 4 * MEBIBYTE],
      ['b-data', 0, MEBIBYTE],
    ],
  );
  await fails(
    ['vm', 'show', 'nope'],
    1,
    /no VM nope; there are lab\/db, lab\/mail, lab\/web; .*holdfast host refresh lab \[ResourceNotFound\]/,
  );
  const plumbing = await run(['vm', 'list', '--connect', `images:${images}`], { password: null });
  assert.match(plumbing.stdout, /^VM +STATE +DISKS +SIZE\n(.*\n)+\n3 VMs at images:/);
});

test('a VM whose system disk is one by accident of its name is told, with what to do', async () => {
  const other = join(folder, 'odd');
  mkdirSync(join(other, 'shop'), { recursive: true });
  for (const name of ['data', 'os'])
    writeFileSync(join(other, 'shop', `${name}.raw`), Buffer.alloc(65_536));
  assert.match(await text('host', 'add', 'odd', '--connect', `images:${other}`), /1 VM found/);
  const says =
    /^data comes first and is taken for the system disk, though os sounds like it.*vm\.json/m;
  assert.match(await text('vm', 'show', 'shop'), says);
  assert.doesNotMatch(await text('vm', 'show', 'web'), says);
  const plumbing = await run(['vm', 'show', 'shop', '--connect', `images:${other}`], {
    password: null,
  });
  assert.match(plumbing.stdout, says);
  assert.match(plumbing.stdout, /^data +system +raw +64\.0 KiB +\/.*\nos +data +raw/m);
  assert.match(await text('host', 'show', 'odd'), /^System disks: +.*vm\.json$/m);
  const order = { disks: [{ file: 'os.raw' }, { file: 'data.raw' }] };
  writeFileSync(join(other, 'shop', 'vm.json'), JSON.stringify(order));
  await text('host', 'refresh', 'odd');
  const ordered = await text('vm', 'show', 'shop');
  assert.doesNotMatch(ordered, says);
  assert.match(ordered, /^os +system +raw/m);
  await text('host', 'remove', 'odd');
});

test('a name that two groups have must say which is meant', async () => {
  const other = join(folder, 'other');
  mkdirSync(join(other, 'web'), { recursive: true });
  writeFileSync(join(other, 'web', 'a.raw'), Buffer.alloc(65_536));
  await text('host', 'add', 'annex', '--connect', `images:${other}`);
  await fails(
    ['vm', 'show', 'web'],
    1,
    /several VMs web: write annex\/web or lab\/web \[NameAmbiguous\]/,
  );
  assert.match(await text('vm', 'show', 'LAB/web'), /^Group: +lab$/m);
  await fails(
    ['vault', 'create', 'v'],
    2,
    /--group annex, lab or odd; holdfast vault create --help explains it \[Usage\]/,
  );
  assert.match(await text('host', 'remove', 'annex'), /^Host annex is removed/);
  assert.match(await text('vm', 'show', 'web'), /^Group: +lab$/m);
});

test('a storage account is a folder', async () => {
  assert.match(await text('storage-account', 'list'), /There are no storage accounts/);
  const path = join(folder, 'restored');
  const made = await json<{ group: string; path: string }>(
    'storage-account',
    'add',
    'store',
    '--path',
    path,
    '--group',
    'lab',
  );
  assert.deepEqual([made.group, made.path], ['lab', path]);
  assert.ok(existsSync(path));
  assert.match(
    await text('storage-account', 'list'),
    /^store +lab +idle +\d[^/]*iB +\/.*restored$/m,
  );
  await fails(['storage-account', 'remove', 'none'], 1, /there is lab\/store \[ResourceNotFound\]/);
  const other = join(folder, 'deep', 'er');
  await fails(
    ['storage-account', 'add', 'store', '--path', other, '--group', 'else'],
    1,
    /has the name 'store'.*\[ResourceExists\]/,
  );
  assert.equal(existsSync(join(folder, 'deep')), false, 'what was made for it is gone');
  await fails(['vault', 'create', 'no name', '--group', 'else'], 1, /\[InvalidResourceName\]/);
  await fails(['vault', 'create', 'v'], 2, /--group annex, lab or odd;/);
  assert.match(await text('storage-account', 'remove', 'store'), /what is in .* stays/);
});

test('a vault is made, set and shown; its recovery key opens its repository', async () => {
  const made = await text('vault', 'create', 'v1', '--group', 'lab', '--tag', 'team=a');
  assert.match(made, /^Vault v1 in lab, its repository in \/.*\nPrint its recovery key/);
  await fails(['vault', 'create', 'v1', '--group', 'lab'], 1, /there already \[ResourceExists\]/);
  type Shown = { softDelete: string; softDeleteDays: number; tags: object; repository: string };
  const repo = join(folder, 'own-repository');
  const own = await json<Shown>(
    'vault',
    'create',
    'v2',
    '--group',
    'backups',
    '--repo',
    repo,
    '--soft-delete',
    'off',
  );
  assert.deepEqual([own.repository, own.softDelete], [repo, 'Disabled']);
  await fails(
    ['vault', 'show'],
    2,
    /several vaults: name one, lab\/v1 or backups\/v2|backups\/v2 or lab\/v1/,
  );
  const set = await json<Shown>('vault', 'set', 'v1', '--soft-delete-days', '20', '--clear-tags');
  assert.deepEqual([set.softDeleteDays, set.tags], [20, {}]);
  await fails(
    ['vault', 'set', 'v1', '--soft-delete-days', '3'],
    1,
    /\[BMSUserErrorInvalidVaultConfig\]/,
  );
  await fails(['vault', 'set', 'v1'], 2, /say what to set/);
  assert.match(await text('vault', 'list'), /^v1 +lab +0 +20 days +no +\/.*\n?/m);

  const key = join(folder, 'key.txt');
  writeFileSync(key, await text('vault', 'recovery-key', 'v2'));
  const points = await run(['repo', 'points', repo, '--password-file', key], { password: null });
  assert.equal(points.code, 0, points.stderr);
  // What the service has promised is not its plumbing's to take back.
  const expire = ['repo', 'expire', repo, '--keep-last', '1', '--password-file', key];
  const refused = await run(expire, { password: null });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /the vault of a service.*--of-vault.*\[RepositoryOfVault\]/);
  const forced = await run([...expire, '--of-vault'], { password: null });
  assert.equal(forced.code, 0, forced.stderr);
  assert.match(await text('vault', 'set', 'v2', '--immutability', 'on'), /^Immutable: +yes$/m);
  const lock = ['vault', 'set', 'v2', '--immutability', 'locked'];
  await fails(lock, 2, /give --yes to lock the immutability of the vault backups\/v2 for ever/);
  assert.match(await text(...lock, '--yes'), /^Immutable: +for ever$/m);
  await fails(
    ['vault', 'set', 'v2', '--immutability', 'off'],
    1,
    /is locked: it cannot be made Disabled any more.*\[UserErrorUnsupportedVaultImmutabilityState/,
  );
  await fails(['vault', 'delete', 'v2'], 2, /give --yes to delete the vault backups\/v2/);
  assert.match(await text('vault', 'delete', 'v2', '--yes'), /^Vault backups\/v2 is deleted/);
});

test('a policy is made of options, changed, previewed, and read again from its own JSON', async () => {
  const schedule = ['--daily', '22:00', '--time-zone', 'W. Europe Standard Time'];
  const kept = ['--keep-daily', '14', '--keep-weekly', '8', '--keep-monthly', '6'];
  const all = [...schedule, ...kept, '--keep-yearly', '2'];
  const made = await text('policy', 'create', 'nightly', ...all);
  assert.match(made, /^Backs up: +daily at 22:00, W\. Europe Standard Time$/m);
  assert.match(
    made,
    /^Keeps: +14 days, 8 weeks \(Sunday\), 6 months \(First Sunday\), 2 years \(First Sunday of January\)$/m,
  );
  await fails(
    ['policy', 'create', 'nightly', '--daily', '1:00'],
    1,
    /holdfast policy set changes it \[ResourceExists\]/,
  );
  const set = await text('policy', 'set', 'nightly', '--daily', '23:30', '--keep-weekly', 'none');
  assert.match(set, /^Keeps: +14 days, 6 months .*$/m);
  assert.match(set, /^Backs up: +daily at 23:30, W\. Europe/m);
  const preview = await text(
    'policy',
    'preview',
    'nightly',
    '--count',
    '2',
    '--since',
    '2026-07-01',
  );
  assert.match(preview, /2026-07-01T23:30:00\+02:00.*\n2026-07-02T23:30:00\+02:00/);

  const file = join(folder, 'policy.json');
  writeFileSync(file, await text('policy', 'show', 'nightly', '--json'));
  await text('policy', 'create', 'copy', '--file', file);
  type Shown = { properties: object };
  const [one, other] = [
    await json<Shown>('policy', 'show', 'nightly'),
    await json<Shown>('policy', 'show', 'copy'),
  ];
  assert.deepEqual(one.properties, other.properties);
  writeFileSync(file, JSON.stringify({ ...one.properties, tmeZone: 'UTC' }));
  await fails(['policy', 'create', 'odd', '--file', file], 1, /tmeZone/);

  await text(
    'policy',
    'create',
    'weekly',
    '--weekly',
    'sat,sunday',
    '--at',
    '3:00',
    '--keep-monthly',
    '3',
  );
  await text('policy', 'create', 'often', '--hourly', '4', '--for', '12');
  const list = await text('policy', 'list', '--vault', 'v1');
  assert.match(
    list,
    /^weekly +lab\/v1 +0 +Saturday, Sunday at 03:00 +UTC +12 weeks \(Saturday, Sunday\), 3 months/m,
  );
  assert.match(list, /^often +lab\/v1 +0 +every 4 hours from 08:00 for 12 hours +UTC +30 days$/m);
  const invalid: readonly (readonly [string, RegExp])[] = [
    ['--daily 22:10', /not valid: --daily is "22:10", allowed: a full or half hour/],
    ['--weekly sunday --at 22:10', /: --at is "22:10"/],
    ['--weekly sunday --at 22:00 --keep-daily 10', /: --keep-daily is 10 days, allowed: no daily/],
    ['--weekly sunday --at 22:00 --keep-weekly-on monday', /: --keep-weekly-on is \["monday"\]/],
    ['--daily 22:00 --time-zone Mars', /: --time-zone is "Mars"/],
    ['--daily 22:00 --instant-days 99', /: --instant-days is 99 days/],
    ['--hourly 5', /: --hourly is 5, allowed: 4, 6, 8, 12/],
    ['--hourly 4 --for 30 --from 8:15', /: --from is "08:15".*; --for is 30 hours/],
    ['--daily 22:00 --keep-monthly 3 --keep-monthly-on 31', /: --keep-monthly-on is 31, allowed/],
    ['--daily 22:00 --keep-yearly 999', /: --keep-yearly is 999 years/],
  ];
  for (const [options, says] of invalid)
    await fails(['policy', 'create', 'x', ...options.split(' ')], 1, says);
  await fails(['policy', 'set', 'nightly', '--keep-daily', 'none'], 1, /: --keep-daily is missing/);
  await fails(['policy', 'preview', '--hourly', '5'], 1, /: --hourly is 5/);
  await fails(
    ['policy', 'create', 'x', '--daily', '22:10'],
    1,
    /half hour.*\[BMSUserErrorInvalidPolicyInput\]/,
  );
  await fails(['policy', 'create', 'x'], 2, /say when: --daily/);
  await fails(['policy', 'create', 'x', '--daily', '25:00'], 2, /not a time of day/);
  await fails(
    ['policy', 'create', 'x', '--daily', '22:00', '--keep-daily', '0'],
    1,
    /\[UserErrorInvalidRetentionDuration\]/,
  );
  await text('vault', 'create', 'v3', '--group', 'lab');
  assert.match(await text('policy', 'show', 'Nightly'), /^Vault: +lab\/v1$/m);
  assert.match(await text('policy', 'preview', 'nightly', '--count', '1'), /T23:30:00/);
  await fails(
    ['policy', 'show', 'DefaultPolicy'],
    2,
    /several vaults have a policy DefaultPolicy: give --vault lab\/v[13] or lab\/v[13];/,
  );
  await fails(['policy', 'create', 'y', '--daily', '22:00'], 2, /several vaults: give --vault/);
  assert.match(
    await text('protect', 'db', '--policy', 'nightly'),
    /protected in lab\/v1 by the policy nightly/,
  );
  await fails(['protect', 'mail'], 2, /several vaults: give --vault/);
  await text('unprotect', 'db', '--delete-data', '--yes');
  await text('vault', 'delete', 'v3', '--yes');
  assert.match(
    await text('policy', 'delete', 'often', '--yes'),
    /^Policy often of lab\/v1 is deleted/,
  );
  await fails(['policy', 'show', 'often'], 1, /no policy often/);
});

test('an account signs in with its secret until it is deleted', async () => {
  type Account = Readonly<
    Record<'clientId' | 'clientSecret' | 'tenantId' | 'subscriptionId', string>
  >;
  const account = await json<Account>('principal', 'create', 'ci');
  const variables = {
    HOLDFAST_URL: service.url,
    HOLDFAST_CA_FILE: join(service.data, 'ca.pem'),
    HOLDFAST_TENANT_ID: account.tenantId,
    HOLDFAST_SUBSCRIPTION_ID: account.subscriptionId,
    HOLDFAST_CLIENT_ID: account.clientId,
    HOLDFAST_CLIENT_SECRET: account.clientSecret,
  };
  const listed = await run(['principal', 'list'], { variables, password: null });
  assert.match(listed.stdout, /^ci +[\da-f-]{36} +\d{4}-/m);
  const rotated = await json<Account>('principal', 'rotate', 'ci');
  assert.notEqual(rotated.clientSecret, account.clientSecret);
  const old = await run(['vm', 'list'], { variables, password: null });
  assert.match(
    old.stderr,
    /^holdfast: the service at .* refuses the client id or the secret of HOLDFAST_CLIENT_ID .*\[SignInRefused\]\n$/,
  );
  assert.equal(old.code, 1);
  await fails(
    ['principal', 'create', 'CI'],
    1,
    /There is a service principal 'ci'.*\[ResourceExists\]/,
  );
  const own = await run(['principal', 'delete', 'admin', '--yes'], {
    variables: { HOLDFAST_DATA: service.data },
    password: null,
  });
  assert.match(
    own.stderr,
    /^holdfast: admin \([\da-f-]{36}\) is the account that this command signs in with/,
  );
  assert.deepEqual([own.code, own.stdout], [2, '']);
  await text('principal', 'delete', 'ci', '--yes');
  await fails(['principal', 'rotate', 'ci'], 1, /no account ci; there is admin/);
});

test('the doctor warns of a vault whose key nobody has fetched, and ends with 0', async () => {
  assert.match(
    await text('doctor'),
    /^warning: vault lab\/v1: nobody has fetched its recovery key.*\n {2}run holdfast vault recovery-key lab\/v1,/m,
  );
  const { isHealthy, findings } = await json<{ isHealthy: boolean; findings: object[] }>('doctor');
  assert.deepEqual([isHealthy, findings.length], [true, 1]);
});
