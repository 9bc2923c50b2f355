/** Consistency groups by the commands of a user. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { text, json, fails, images } = service;
for (const vm of ['web', 'db', 'mail']) addVm(service, vm);

type Point = {
  readonly id: string;
  readonly group?: { readonly id: string; readonly points: readonly { readonly id: string }[] };
};

test('a group is made of protected VMs', async () => {
  await text('host', 'add', 'lab', '--connect', `images:${images}`);
  await text('vault', 'create', 'v1');
  await text('protect', 'web');
  await text('protect', 'db');
  assert.match(await text('group', 'list'), /^No consistency groups\.\n$/);
  await fails(
    ['group', 'create', 'shop', '--vm', 'web'],
    1,
    /two VMs or more.*\[ConsistencyGroupInvalid\]/,
  );
  await fails(
    ['group', 'create', 'shop', '--vm', 'web', '--vm', 'mail'],
    1,
    /lab\/mail is not protected in the vault lab\/v1: holdfast protect lab\/mail --vault lab\/v1 protects it \[BMSUserErrorProtectedItemNotFound\]/,
  );
  await fails(['group', 'create', 'shop'], 2, /--vm/);
  assert.match(
    await text('group', 'create', 'shop', '--vm', 'web', '--vm', 'lab/db'),
    /^Group shop: lab\/web, lab\/db; holdfast group backup shop takes points of all of them at one instant\.\n$/,
  );
  assert.match(await text('group', 'list'), /^shop +lab\/v1 +lab\/web, lab\/db/m);
});

test('its points are taken together, and each names the other', async () => {
  assert.match(
    await text('group', 'backup', 'shop'),
    /^Recovery points at one instant, taken in .*:\n {2}lab\/web {2}\d+\n {2}lab\/db {2}\d+\n$/,
  );
  const job = await json<{
    readonly status: string;
    readonly points: readonly { readonly vm: string; readonly id: string }[];
  }>('group', 'backup', 'shop', '--expires', '5d');
  assert.equal(job.status, 'Completed');
  const { points } = await json<{ readonly points: readonly Point[] }>('points', 'web');
  assert.equal(points.length, 2);
  assert.equal(points[0]!.id, job.points[0]!.id);
  assert.deepEqual(
    points[0]!.group!.points.map(({ id }) => id),
    job.points.map(({ id }) => id),
  );
  assert.match(await text('points', 'db'), new RegExp(`SAME INSTANT[^]*lab/web ${points[0]!.id}`));
  assert.match(await text('jobs', 'list'), /GroupBackup/);
});

test('with a policy it is scheduled in place of its VMs, and is shown and deleted', async () => {
  assert.match(
    await text('group', 'create', 'shop', '--vm', 'web', '--vm', 'db', '--policy', 'DefaultPolicy'),
    /by the schedule of DefaultPolicy, in place of their own/,
  );
  const shown = await text('group', 'show', 'SHOP');
  assert.match(shown, /^Schedule +of the policy DefaultPolicy/m);
  assert.match(shown, /^lab\/web +Protected$/m);
  await fails(['group', 'show', 'other'], 1, /no consistency group other; there is shop/);
  assert.match(await text('group', 'delete', 'shop'), /^Group shop was deleted/);
  await fails(['group', 'backup', 'shop'], 1, /no consistency group shop/);
});
