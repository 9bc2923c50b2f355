/**
 * A real guest that is backed up while it runs, and what the unmodified `az` brings back of it through the service:
 * a copy beside it, itself when it is gone, and its disks in place; the same for whatever runs it.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { IN_VAULT, type AzJob, type AzLab } from './az-lab.ts';
import { moreRecords, recordsIn, startWriting } from './records.ts';
import type { Serving } from './serving.ts';
import { rawCopy } from './vm-source.ts';

export type Guest = { readonly sh: (script: string) => Promise<string> };

export type Platform = {
  /** The host's name, which is its group's. */
  readonly host: string;
  /** The VM that runs there. */
  readonly vm: string;
  readonly guest: Guest;
  /** A VM that the service has made and started, by what its job tells. */
  readonly reach: (vm: string, job: AzJob) => Guest;
  /** Shuts it down in order, and returns when it is off. */
  readonly shutDown: (vm: string, guest: Guest) => Promise<void>;
  /** Ends the VM as by a crash; its host does not know it any more. */
  readonly lose: () => Promise<void>;
  /** Starts a VM that the service has made, as its owner does. @param folder as its job told. */
  readonly start: (vm: string, folder: string) => Promise<void>;
  readonly uuidOf: (vm: string) => Promise<string>;
};

const COPY = 'copy';

/** Everything of it, each on what the one before has left. */
export async function restoresGuest(
  t: TestContext,
  serving: Serving,
  { lab, platform }: { readonly lab: AzLab; readonly platform: Platform },
): Promise<void> {
  const { az, finished, refused } = lab;
  const { host, vm, guest } = platform;
  const id = `${lab.subscription}/resourceGroups/${host}/providers/Microsoft.Compute/virtualMachines/${vm}`;
  await az(`backup protection enable-for-vm ${IN_VAULT} --vm ${id} -p DefaultPolicy`);
  const item = `${IN_VAULT} -c ${vm} -i ${vm}`;
  const ofVm = `${item} --backup-management-type AzureIaasVM`;
  const points = async (): Promise<readonly string[]> =>
    (await az(`backup recoverypoint list ${ofVm} --workload-type VM`)).map(
      ({ name }: { readonly name: string }) => name,
    );
  const backUp = async (): Promise<AzJob> => {
    const job = await finished(await az(`backup protection backup-now ${ofVm}`));
    assert.match(job.properties.status, /^Completed/, JSON.stringify(job));
    return job;
  };

  await startWriting(guest);
  const records = await moreRecords(guest, 10);
  await backUp();
  const point = (await points())[0]!;
  const restore = `backup restore restore-disks ${item} -r ${point} --storage-account sa1`;
  const network = `--target-vnet-name none --target-subnet-name default --target-vnet-resource-group ${host}`;
  const asNew = `${restore} --target-resource-group ${host} ${network} --target-vm-name`;
  const inPlace = `${restore} --restore-mode OriginalLocation`;

  await t.test('as a new VM beside it, started, with every record', async () => {
    const job = await finished(await az(`${asNew} ${COPY}`));
    const bag = bagOf(job);
    assert.equal(bag['Target VM'], COPY);
    const copy = platform.reach(COPY, job);
    const count = Number(await copy.sh('wc -l </data/records'));
    assert.ok(count >= records, `${count} of ${records}`);
    assert.notEqual(await platform.uuidOf(COPY), await platform.uuidOf(vm));
    // The original has gone on all the while.
    await moreRecords(guest, 1);
    await refused(`${asNew} ${vm}`, 1, /\(VmExists\)/);
    await refused(inPlace, 1, /\(UserErrorVmNotShutDown\)/);

    await forgotEnd(serving, job.name);
    const again = await finished(job);
    assert.equal(bagOf(again)['Target VM'], COPY);
    assert.equal(bagOf(again)['Target Folder'], bag['Target Folder']);
    assert.equal(Number(await copy.sh('wc -l </data/records')), count);
    await platform.shutDown(COPY, copy);
    const raw = await rawCopy(imagesOf(again)[0]!);
    assert.equal(await recordsIn(raw), count);
  });

  let folder = '';
  let restored: Guest = guest;
  await t.test('under its own name, when it is gone, as the VM that it was', async () => {
    const uuid = await platform.uuidOf(vm);
    await platform.lose();
    await refused(inPlace, 1, /\(UserErrorVmNotFoundV2\)/);
    const job = await finished(await az(`${asNew} ${vm}`));
    folder = bagOf(job)['Target Folder']!;
    restored = platform.reach(vm, job);
    assert.ok(Number(await restored.sh('wc -l </data/records')) >= records);
    assert.equal(await platform.uuidOf(vm), uuid);
    const { properties } = await az(
      `backup item show ${IN_VAULT} -c ${vm} -n ${vm} --backup-management-type AzureIaasVM --workload-type VM`,
    );
    assert.equal(properties.protectionState, 'Protected');
    const { dynamicErrorMessage: told } = (await backUp()).properties.extendedInfo;
    assert.doesNotMatch(told ?? '', /another VM/);
    assert.equal((await points()).length, 2);
  });

  await t.test(
    'in place, when it is off: what it had is a point, and its images stay',
    async () => {
      await restored.sh('echo later >/data/later; sync');
      await platform.shutDown(vm, restored);
      const before = await points();
      const job = await finished(await az(inPlace));
      const bag = bagOf(job);
      const [safety, ...others] = await points();
      assert.deepEqual(others, before);
      assert.equal(bag['Recovery point of the disks before'], safety);
      const old = bag['Disks before']!.split(', ');
      assert.ok(
        old.every((path) => existsSync(path) && dirname(path) === folder),
        String(old),
      );
      await platform.start(vm, folder);
      const replaced = platform.reach(vm, job);
      assert.equal(await replaced.sh('ls /data/later 2>/dev/null | wc -l'), '0\n');
      const count = Number(await replaced.sh('wc -l </data/records'));
      assert.ok(count >= records);
      await platform.shutDown(vm, replaced);
      assert.equal(await recordsIn(await rawCopy(imagesOf(job)[0]!)), count);
      // The safety point is one like any other.
      const files = await finished(await az(restore.replace(point, safety!)));
      const raw = await rawCopy(imagesOf(files)[0]!);
      assert.ok((await recordsIn(raw)) >= records);
    },
  );
}

function bagOf(job: AzJob): Readonly<Record<string, string>> {
  assert.match(job.properties.status, /^Completed/, JSON.stringify(job));
  return job.properties.extendedInfo.propertyBag;
}

function imagesOf(job: AzJob): readonly string[] {
  const files = bagOf(job)['Restored Files']!.split(', ');
  return files.filter((path) => /\.(qcow2|raw)$/.test(path));
}

/** As if the service had been killed just before it could write that the job has ended; it comes again where it was. */
async function forgotEnd(serving: Serving, jobId: string): Promise<void> {
  const { host } = new URL(serving.account.url);
  assert.equal(await serving.stop(), 0);
  const catalogue = new DatabaseSync(join(serving.data, 'catalogue.db'));
  const row = `status = 'InProgress', endedAt = NULL, leaseOwner = 'dead', leaseUntil = 1`;
  const { changes } = catalogue.prepare(`UPDATE jobs SET ${row} WHERE id = ?`).run(jobId);
  catalogue.close();
  assert.equal(changes, 1);
  await serving.start(['--listen', host]);
}
