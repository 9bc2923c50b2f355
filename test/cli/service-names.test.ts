/** Names that several VMs and vaults have, VMs that several vaults know, ids by how they begin, dates. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MEBIBYTE, noise } from './holdfast.ts';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { text, json, fails, folder, images } = service;
addVm(service, 'web');
addVm(service, 'db');
const annex = join(folder, 'annex');
mkdirSync(join(annex, 'web'), { recursive: true });
writeFileSync(join(annex, 'web', 'a.raw'), noise(MEBIBYTE));

type Item = { readonly vault: string; readonly isSoftDeleted: boolean };
type Vm = { readonly name: string; readonly group: string; readonly protection: readonly Item[] };
type Points = { readonly vault: string; readonly points: readonly { readonly id: string }[] };

test('where groups have VMs or vaults of one name, texts say which is meant, and how to say it', async () => {
  await text('host', 'add', 'lab', '--connect', `images:${images}`);
  await text('host', 'add', 'annex', '--connect', `images:${annex}`);
  assert.match(
    await text('vault', 'create', 'main', '--group', 'annex'),
    /holdfast vault recovery-key annex\/main$/m,
  );
  await text('vault', 'create', 'main', '--group', 'lab');
  await fails(['protect', 'web', '--vault', 'main'], 1, /several VMs web: write annex\/web or lab/);
  await fails(
    ['protect', 'lab/web', '--vault', 'main'],
    1,
    /several vaults main: write annex\/main or lab\/main \[NameAmbiguous\]/,
  );
  await fails(['protect', 'lab/web'], 2, /several vaults: give --vault annex\/main or lab\/main/);
  await fails(['vault', 'show'], 2, /several vaults: name one, annex\/main or lab\/main/);
  await fails(['backup', 'web'], 1, /several VMs web: write annex\/web or lab\/web/);
  await fails(
    ['backup', 'db', '--vault', 'lab/main'],
    1,
    /lab\/db is not protected in the vault lab\/main: holdfast protect lab\/db --vault lab\/main prot/,
  );
  await fails(['backup', 'lab/nope'], 1, /holdfast host refresh lab \[ResourceNotFound\]/);
  const doctor = await text('doctor');
  for (const group of ['annex', 'lab'])
    assert.match(doctor, new RegExp(`vault ${group}/main: .*\\n .*recovery-key ${group}/main,`));
  await text('protect', 'lab/web', '--vault', 'lab/main');
  await text('protect', 'annex/web', '--vault', 'annex/main');
  await fails(['backup', 'web'], 1, /several protected VMs web: write annex\/web or lab\/web/);
  await text('backup', 'lab/web');
  assert.match(await text('jobs'), /^\S+ +Backup +lab\/web +Completed .* lab\/main$/m);
});

test('of the vaults that know a VM the one that backs it up is meant, to undelete the other', async () => {
  await text('unprotect', 'lab/web', '--delete-data', '--yes');
  await fails(['protect', 'lab/web'], 1, /\[UserErrorItemSoftDeleted\]/);
  await text('vault', 'create', 'second', '--group', 'lab');
  await text('protect', 'lab/web', '--vault', 'second');
  const { pointId } = await json<{ readonly pointId: string }>('backup', 'lab/web');
  const { vault, points } = await json<Points>('points', 'lab/web');
  assert.equal(vault, 'lab/second');
  assert.deepEqual(
    points.map(({ id }) => id),
    [pointId],
  );
  assert.match(await text('vm', 'list'), /^web +lab +off +2 +protected +lab\/second /m);
  const { vms } = await json<{ readonly vms: readonly Vm[] }>('vm', 'list');
  const web = vms.find(({ name, group }) => `${group}/${name}` === 'lab/web')!;
  assert.deepEqual(
    web.protection.map((item) => [item.vault, item.isSoftDeleted]),
    [
      ['lab/second', false],
      ['lab/main', true],
    ],
  );
  await text('protect', 'lab/web', '--only-lun', '0');
  assert.match(await text('points', 'lab/web', '--vault', 'lab/main'), /soft-deleted$/m);
  await text('undelete', 'lab/web');
  assert.match(await text('points', 'lab/web', '--vault', 'lab/main'), /^1 point of lab\/web/m);
  assert.equal((await json<Points>('points', 'lab/web')).vault, 'lab/second');
  await fails(
    ['resume', 'lab/web'],
    1,
    /in lab\/second are not stopped: .*\[UserErrorItemAlreadyProtected\]/,
  );
  await text('unprotect', 'lab/web', '--retain');
  await fails(
    ['points', 'lab/web'],
    2,
    /lab\/web is stopped in several vaults: give --vault lab\/(main|second) or lab\/(second|main);/,
  );
});

test('points of a time when there are none: the time that there are of is told', async () => {
  const none = { vm: 'lab/web', vault: 'lab/second', points: [] };
  const range = ['lab/web', '--vault', 'second', '--since', '2020-01-01', '--until', '2020-02-01'];
  assert.deepEqual(await json('points', ...range), none);
  assert.match(
    await text('points', ...range),
    /^lab\/web has no recovery points in lab\/second taken from 2020-01-01 until 2020-02-01; the 1 point there is was taken \d{4}-/,
  );
  await fails(
    ['points', 'lab/web', '--vault', 'second', '--until', 'x'],
    2,
    /--until "x" is no date/,
  );
  const recent = ['points', 'lab/web', '--vault', 'lab/main'];
  assert.match(await text(...recent, '--since', '1d'), /\n\n1 point of/);
  assert.match(await text(...recent, '--until', '1d'), /taken until 1d; the 1 point there is/);
  assert.match(await text('points', 'annex/web', '--since', '2020-01-01'), /holdfast backup annex/);
});

test('a job and a point are named by how their ids begin, where only one does', async () => {
  for (const [command, ids] of [
    ['point pin', (await json<Points>('points', 'lab/web', '--vault', 'lab/main')).points],
    ['jobs show', (await json<{ readonly jobs: Points['points'] }>('jobs')).jobs],
  ] as const) {
    const of = command === 'point pin' ? ['lab/web', '--vault', 'lab/main'] : [];
    const [verb, action] = command.split(' ') as [string, string];
    const named = (id: string) => [verb, action, ...of.slice(0, 1), id, ...of.slice(1)];
    const id = ids[0]!.id;
    assert.match(await text(...named(id.slice(0, 9))), new RegExp(id));
    await fails(named('zzzz'), 1, /no (job|recovery point) zzzz.*holdfast (jobs list|points)/);
    if (command === 'point pin') {
      await fails(named(id.slice(0, 3)), 2, /too short to pin a recovery point by: .* at least 4/);
      await fails(named(''), 2, /the point is empty: .* holdfast points lab\/web lists them/);
    } else {
      await fails(named(''), 1, /an empty id names no job; holdfast jobs list shows them/);
    }
  }
});

test('a point is kept until a date, or for days', async () => {
  await text('backup', 'annex/web');
  const at = ['point', 'extend', 'annex/web', 'latest', '--until'];
  type Held = { readonly keptBy: string; readonly expiryTime?: string };
  const { expiryTime } = await json<Held>(...at, '400d');
  assert.equal(Math.round((Date.parse(expiryTime!) - Date.now()) / 86_400_000), 400);
  await fails([...at, 'soon'], 2, /--until "soon" is no date such as .*, and no number of days/);
});

test('a disk of another format than its name says is refused, with where to say which it is', async () => {
  const liar = join(images, 'liar');
  mkdirSync(liar);
  writeFileSync(join(liar, 'a.qcow2'), noise(MEBIBYTE));
  await text('host', 'refresh', 'lab');
  await fails(
    ['protect', 'liar', '--vault', 'second'],
    1,
    /cannot open .*a\.qcow2" as qcow2: if it has another format, name that; .* \("format" in vm\.json: raw, qcow2, .*\)\. Mend that and refresh its host \[DiskUnsupported\]/,
  );
  writeFileSync(
    join(liar, 'vm.json'),
    JSON.stringify({ disks: [{ file: 'a.qcow2', format: 'raw' }] }),
  );
  await text('host', 'refresh', 'lab');
  assert.match(await text('protect', 'liar', '--vault', 'second'), /^lab\/liar is protected/);
});
