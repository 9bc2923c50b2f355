/** `holdfast policy preview`: what a change would do to points is said before, and is what it then does. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { addVm, serviceProcess } from './service-process.ts';

const DAY_MS = 86_400_000;
const service = await serviceProcess();
const { text, json, fails, folder, images } = service;
addVm(service, 'web');

type Point = { readonly id: string; readonly takenTime: string; readonly expiryTime: string };
type Preview = {
  readonly runs?: readonly object[];
  readonly points?: {
    readonly freedBytes: number;
    readonly value: readonly {
      readonly recoveryPoints: readonly {
        readonly name: string;
        readonly keptBy: string;
        readonly expiryTime: string;
      }[];
    }[];
  };
};

const shown = async (): Promise<readonly Point[]> =>
  (await json<{ points: Point[] }>('points', 'web')).points;
const expiries = ({ points }: Preview) =>
  points!.value[0]!.recoveryPoints.map(({ name, expiryTime }) => [name, expiryTime]);

test('the change of a policy is shown with the points that it changes, and then does that', async () => {
  await text('host', 'add', 'lab', '--connect', `images:${images}`);
  await text('vault', 'create', 'v1');
  await text('storage-account', 'add', 'store', '--path', join(folder, 'restored'));
  await text('protect', 'web');
  await text('backup', 'web', '--expires', '90d');
  // The point that is taken before the VM's disks are replaced is kept by the policy.
  await text('restore', 'web', 'latest', '--replace', '--yes', '--storage-account', 'store');
  const change = ['DefaultPolicy', '--keep-daily', '7'];
  const said = await json<Preview>('policy', 'preview', ...change, '--count', '2');
  assert.equal(said.runs!.length, 2);
  const before = await shown();
  const [safety] = before;
  const week = new Date(Date.parse(safety!.takenTime) + 7 * DAY_MS).toISOString();
  assert.deepEqual(expiries(said), [
    [before[1]!.id, before[1]!.expiryTime],
    [safety!.id, week],
  ]);
  assert.match(
    await text('policy', 'preview', ...change),
    new RegExp(
      `^VM +POINT +TAKEN +NOW +THEN\\nlab/web +${safety!.id} +\\S+ \\S+ +daily until [\\d: -]+ +daily until [\\d: -]+\\n\\n` +
        '2 points kept, 0 soft-deleted \\(0 B when they go\\), 0 removed by the next clean-up \\(0 B\\)\\.$',
      'm',
    ),
  );
  assert.deepEqual(await shown(), before, 'nothing has changed');
  const set = await service.run('policy', 'set', ...change);
  assert.deepEqual(
    [set.code, set.stderr],
    [
      0,
      'By this change 1 recovery point of 1 VM is kept less long (holdfast policy preview with the same options shows which).\n',
    ],
  );
  assert.equal((await shown())[0]!.expiryTime, week);
  assert.match(
    await text('policy', 'preview', ...change),
    /^No recovery point changes: 2 points kept/m,
  );
});

test('what another policy would do to the points of a VM is shown', async () => {
  await text('policy', 'create', 'long', '--daily', '23:00', '--keep-daily', '100');
  const { runs, points } = await json<Preview>('policy', 'preview', 'long', '--vm', 'web');
  assert.equal(runs, undefined);
  const { keptBy, expiryTime } = points!.value[0]!.recoveryPoints.at(-1)!;
  const days = (Date.parse(expiryTime) - Date.now()) / DAY_MS;
  assert.deepEqual([keptBy, Math.round(days)], ['daily', 100]);
  await fails(['policy', 'preview', '--vm', 'web'], 2, /--vm needs the name of a policy/);
  const both = ['policy', 'preview', 'long', '--vm', 'web', '--keep-daily', '9'];
  await fails(both, 2, /give no option of one/);
  const alone = await json<Preview>('policy', 'preview', 'long');
  assert.deepEqual([alone.runs!.length, alone.points], [10, undefined]);
});

test('what an immutable vault would refuse is said before, and refused without a question', async () => {
  await text('vault', 'set', 'v1', '--immutability', 'on');
  const change = ['long', '--vault', 'v1', '--keep-daily', '99'];
  const why = /the policy 'long' would keep daily points 99 days instead of 100 days/;
  const said = await text('policy', 'preview', ...change);
  assert.match(said, /^It would be refused: .*\[UserErrorRetentionReductionOnImmutableVault\]$/m);
  assert.match(said, why);
  await fails(['policy', 'set', ...change], 1, why);
  const unchanged = ['policy', 'preview', 'DefaultPolicy', '--keep-daily', '7'];
  const { points } = await json<{ points: { refusal: object } }>(...unchanged);
  assert.equal(points.refusal, undefined, 'it keeps as many already');
  await text('vault', 'set', 'v1', '--immutability', 'off');
});

test('a point is pinned, extended, deleted and brought back', async () => {
  const [newest, older] = await shown();
  assert.match(await text('point', 'pin', 'web', older!.id), /is pinned: it stays until it is unp/);
  assert.equal((await shown())[1]!.expiryTime, undefined);
  const act = ['--yes', '--vault', 'v1'];
  await fails(['point', 'delete', 'web', older!.id, ...act], 1, /\[UserErrorRecoveryPointPinned\]/);
  await fails(['point', 'delete', 'web', newest!.id, ...act], 1, /\[UserErrorLastRecoveryPoint\]/);
  assert.match(await text('point', 'unpin', 'web', older!.id), /is kept until \d{4}-/);
  await text('point', 'extend', 'web', newest!.id, '--until', '2099-12-31');
  assert.match((await shown())[0]!.expiryTime, /^2099-12-31/);
  await fails(['point', 'extend', 'web', 'latest', '--until', 'soon'], 2, /is no date such as/);
  const deleted = await text('point', 'delete', 'web', older!.id, ...act);
  assert.match(deleted, /is soft-deleted until \d{4}-.*; "holdfast point undelete" brings it back/);
  assert.match(
    await text('points', 'web'),
    new RegExp(`^${older!.id} .* soft-deleted until \\d`, 'm'),
  );
  const back = await json<{ fate: string }>('point', 'undelete', 'web', older!.id);
  assert.equal(back.fate, 'kept');
});
