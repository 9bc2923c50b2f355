/** What the unmodified `az backup` lists and shows of items, containers, jobs and points; and the disks it chooses. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { azLab, IN_VAULT, type AzJob, type AzLab } from './az-lab.ts';
import { Serving } from './serving.ts';

const VMS = '--backup-management-type AzureIaasVM';
const OF_ITEM = `${IN_VAULT} -c web -i web ${VMS}`;
const POINTS = `backup recoverypoint list ${OF_ITEM} --workload-type VM`;
const JOBS = `backup job list ${IN_VAULT}`;
const UPDATE = `backup protection update-for-vm ${IN_VAULT} -c web -i web`;

const serving = new Serving();
let lab: AzLab;

before(async () => {
  lab = await azLab(serving);
  const enable = `backup protection enable-for-vm ${IN_VAULT} --vm web -p DefaultPolicy`;
  await lab.az(`${enable} --disk-list-setting exclude --diskslist 1`);
});

const day = (offsetDays: number): string => {
  const date = new Date(Date.now() + offsetDays * 86_400_000).toISOString().slice(0, 10);
  return date.split('-').toReversed().join('-');
};

async function backUp(): Promise<AzJob> {
  const job = await lab.finished(await lab.az(`backup protection backup-now ${OF_ITEM}`));
  assert.equal(job.properties.status, 'Completed', JSON.stringify(job));
  return job;
}

/** LUNs in the newest point, and those that it lacks. */
async function disksOfNewest(): Promise<readonly (readonly number[])[]> {
  const [newest] = await lab.az(POINTS);
  const { includedDiskList, excludedDiskList } = newest.properties.recoveryPointDiskConfiguration;
  const luns = (disks: readonly { readonly lun: number }[] | null): readonly number[] =>
    (disks ?? []).map(({ lun }) => lun).filter((lun) => lun >= 0);
  return [luns(includedDiskList), luns(excludedDiskList)];
}

test('R73 data disks are left out and taken in again by their LUNs; the next point says what it has', async () => {
  const { az, refused } = lab;
  await backUp();
  assert.deepEqual(await disksOfNewest(), [[0], [1]]);
  const cases: readonly (readonly [string, readonly (readonly number[])[]])[] = [
    ['--disk-list-setting exclude --diskslist 0', [[1], [0]]],
    ['--disk-list-setting include --diskslist 0', [[0], [1]]],
    ['--exclude-all-data-disks true', [[], [0, 1]]],
    ['--disk-list-setting resetexclusionsettings', [[0, 1], []]],
  ];
  for (const [more, disks] of cases) {
    const job = await az(`${UPDATE} ${more}`);
    assert.equal(job.properties.operation, 'ConfigureBackup');
    await backUp();
    assert.deepEqual(await disksOfNewest(), disks, more);
  }
  await refused(`${UPDATE} --disk-list-setting exclude`, 1, /provide LUNs/);
  const stranger = `${UPDATE} --disk-list-setting include --diskslist 7`;
  await refused(stranger, 1, /\(UserErrorInvalidDiskSelection\)/);
});

test('items and containers are listed and shown by their names of either kind', async () => {
  const { az, refused, table } = lab;
  const [item] = await az(`backup item list ${IN_VAULT}`);
  const [container] = await az(`backup container list ${IN_VAULT} ${VMS}`);
  assert.equal(container.properties.friendlyName, 'web');
  const native = `-c ${container.name}`;
  const show = `backup item show ${IN_VAULT}`;
  for (const names of [`-c web -n web ${VMS} --workload-type VM`, `${native} -n ${item.name}`]) {
    const shown = await az(`${show} ${names}`);
    assert.equal(shown.id, item.id);
    assert.equal(shown.properties.protectionState, 'Protected');
    assert.equal(shown.properties.lastBackupStatus, 'Completed');
  }
  assert.equal((await az(`backup item list ${IN_VAULT} -c web ${VMS}`)).length, 1);
  assert.deepEqual(await az(`backup item list ${IN_VAULT} --workload-type MSSQL`), []);
  const containers = `backup container show ${IN_VAULT} ${VMS}`;
  for (const name of ['web', container.name]) {
    assert.equal((await az(`${containers} -n ${name}`)).name, container.name);
  }
  assert.match(await table(`backup item list ${IN_VAULT}`), /web .*Completed/);
  assert.match(await table(`backup container list ${IN_VAULT} ${VMS}`), /web.*Registered/);
  // So az says that there is none.
  assert.equal(await az(`${containers} -n none`), undefined);
  assert.equal(await az(`${show} -c web -n none ${VMS} --workload-type VM`), undefined);
  assert.equal(await az(`${show} -c none -n web ${VMS} --workload-type VM`), undefined);
  const stranger = item.name.replace(/;web$/, ';none');
  await refused(`${show} ${native.replace(/;web$/, ';none')} -n ${stranger}`, 3, /NotFound/);
  await refused('backup item list -g lab -v none', 1, /ResourceNotFound/);
});

test('jobs are listed newest first, by status, operation and days', async () => {
  const { az, refused, table } = lab;
  const times = async (filter: string): Promise<readonly number[]> =>
    (await az(`${JOBS} ${filter}`)).map(
      ({ properties }: { readonly properties: { readonly startTime: string } }) =>
        Date.parse(properties.startTime),
    );
  const all = await times('');
  assert.deepEqual(
    all,
    all.toSorted((a, b) => b - a),
  );
  const backups = await az(`${JOBS} --operation Backup --status Completed`);
  assert.equal(backups.length, 5);
  assert.equal((await times('--operation ConfigureBackup')).length, all.length - 5);
  assert.deepEqual(await times('--status Failed'), []);
  assert.deepEqual(await times('--operation Restore'), []);
  assert.equal((await times(`--start-date ${day(-1)} --end-date ${day(1)}`)).length, all.length);
  assert.deepEqual(await times(`--start-date ${day(-9)} --end-date ${day(-1)}`), []);
  assert.deepEqual(await times(`--start-date ${day(1)}`), []);
  assert.deepEqual(await times('--backup-management-type AzureStorage'), []);
  await refused(`${JOBS} --status Sleeping`, 2, /Sleeping/);
  assert.match(await table(JOBS), /Backup\s+Completed\s+web/);
  const [{ name }] = backups;
  const shown = await az(`backup job wait ${IN_VAULT} -n ${name} --timeout 5`);
  assert.equal(shown.properties.status, 'Completed');
});

test('points are listed newest first and by days; what is asked of an archive is refused', async () => {
  const { az, refused, table } = lab;
  const points = await az(POINTS);
  assert.equal(points.length, 5);
  const taken = points.map(
    ({ properties }: { readonly properties: { readonly recoveryPointTime: string } }) =>
      Date.parse(properties.recoveryPointTime),
  );
  assert.deepEqual(
    taken,
    taken.toSorted((a: number, b: number) => b - a),
  );
  assert.equal((await az(`${POINTS} --start-date ${day(-1)} --end-date ${day(1)}`)).length, 5);
  assert.deepEqual(await az(`${POINTS} --start-date ${day(-9)} --end-date ${day(-1)}`), []);
  assert.deepEqual(await az(`${POINTS} --tier VaultArchive`), []);
  assert.equal((await az(`${POINTS} --tier VaultStandard`)).length, 5);
  assert.deepEqual(await az(`${POINTS} --recommended-for-archive`), []);
  assert.match(await table(POINTS), new RegExp(`^${points[0].name}`, 'm'));
  const none = OF_ITEM.replace('-i web', '-i none');
  await refused(`backup recoverypoint list ${none} --workload-type VM`, 3, /not found/i);
  const mount = `backup restore files mount-rp ${IN_VAULT} -c web -i web -r ${points[0].name}`;
  await refused(mount, 1, /\(NotSupported\)/);
});
