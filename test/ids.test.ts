/**
 * What is promised is tested under its name: the promises shown so far, by id, compared with the names of
 * the tests that ran and passed in this very run. `test/run-tests.ts` runs this file after all others and
 * gives it their report; a test that is skipped, put off, filtered out, removed or fails proves nothing.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import type { Ran } from './run-tests.ts';

/** Each promise with the tests that show it: one of each must have passed. */
const PROMISES: Readonly<Record<string, readonly RegExp[]>> = {
  M1: [/the policy starts the backup of each of its VMs/],
  M2: [
    /first online backup installs the extension/,
    /extension of a Windows guest is VMSnapshot/,
    /vm extension shows VMSnapshotLinux/,
  ],
  M3: [
    /through VSS, full by default, copy where the registry says so/,
    /where VSS or a writer fails/,
    /writers in a bad state fail the job/,
  ],
  M4: [/a Linux guest is frozen and thawed through its agent/],
  M5: [
    /stop a Debian database: AppConsistent/,
    /opens without recovery, with all its money/,
    /a failing pre-script with leave to go on/,
    /without leave to go on the job fails/,
  ],
  M6: [/the snapshot and the transfer are two phases/, /two tasks of the job/],
  M7: [
    /four disks are read at once/,
    /with 1 threads: each is begun before any is done/,
    /with 2 threads: each is begun before any is done/,
    /with 4 threads: each is begun before any is done/,
  ],
  M8: [
    /of each disk exactly the changed blocks/,
    /with a hint only its extents are read/,
    /counted at the NBD server/,
    /an increment reads what the bitmap names/,
    /an increment of a Debian guest/,
  ],
  M9: [/the snapshot is gone when the point is there/, /when the transfer has ended/],
  M10: [/a later backup that takes 24 hours fails/],
  M11: [/the VM is as it was/, /backups change nothing of a Debian guest/],
  M12: [
    /no byte of the repository shows/,
    /wrong password is refused/,
    /encryption is transparent/,
    /without encryption/,
  ],
  M16: [/every point carries its consistency/],
  M17: [
    /restored file systems are clean and hold every record/,
    /a restored point boots, and the guest goes on/,
    /Debian is lost, and its images are written/,
    /a Debian that was lost boots/,
  ],
  M18: [
    /QEMU is killed: the bitmap is gone/,
    /without a hint changes are found/,
    /a hint without a point to start from/,
    /a hint that misses changes is caught/,
    /a hint that misses one block among few/,
    /a hint that misses data in a new place/,
    /shrunk and grown back with preallocation/,
  ],
  M19: [
    /a disk added to a live VM/,
    /an added disk joins the next backup/,
    /the added disk, which has none, is copied whole/,
    /removed and comes back/,
    /comes back after its points have expired/,
    /another disk under the name of one that was removed/,
  ],
  M20: [/four disks \(VM2\) takes fewer rounds/, /contiguous changes take fewer requests/],
  M21: [/the starts of 100 VMs at 02:00 are spread/, /start spread over the two hours/],
  M22: [/restores to one account wait for each other/],
  M24: [/disks are restored to a storage account/],
  M25: [/charges begin with the first successful backup/],
  M26: [/the size of an instance is the data on its disks: 17 \+ 30 \+ 0 = 47/],
  M27: [
    /each point is charged for the blocks it brought/,
    /what an expired point hands on is charged to its heir/,
    /sums over owners are what the repository stores/,
    /points add up to their item, in bytes and in money/,
  ],
  M28: [
    /four 16 KiB blocks, three steps/,
    /a change of 1 KB stores/,
    /a change of 1 byte stores/,
    /a change of the first byte of a block stores/,
    /across a border of blocks/,
    /the same content is no change/,
    /becomes zero again/,
    /through the API a change of 1 KB/,
  ],
  M29: [/a backup by hand is full when it is the first/],
  M30: [/D1\+D2, then D3, then D2′\+D3′/, /agree to the byte/, /through the API each point says/],
  M31: [
    /case 1, as in step 2/,
    /case 1, as in its text/,
    /case 1: D1 stays in all later points/,
    /case 2, as in its text/,
    /case 2, as in step 3/,
    /case 3: .* 10 days .* end of day 14, daily ones after 5$/,
    /case 3: .* 10 days .* end of day 14, daily ones after 30$/,
    /expire in any order, and together/,
    /a block that comes back is owned twice/,
    /expiry that was killed between the repository and the records/,
    /what was noted and not done before a kill/,
  ],
  M32: [/a policy edit does to each point what its preview said/],
  M33: [/deleting the data of a VM keeps it restorable/, /preview of stop with delete/],
  M34: [/stopping with data retained ends backups/],
  M35: [/backups of a VM that is gone fail/],
  M36: [/points whose time is over stay while their item is soft-deleted, free of charge/],
  M37: [/8 TiB disk with 5 % churn/, /work of an increment with a hint follows the churn/],
};

const MISSION = 'test/mission/';

let ran: readonly Ran[];

before(() => {
  const report = process.env['HOLDFAST_TESTS_RAN'];
  const how =
    "it compares with what ran before it: node test/run-tests.ts 'test/mission/*.test.ts'";
  assert.ok(report !== undefined, how);
  ran = JSON.parse(readFileSync(report, 'utf8')) as Ran[];
});

/** Tests and groups that are there to show a promise, however they ended. */
function ofPromises(): readonly Ran[] {
  return ran.filter(({ name, file }) => idOf(name) !== undefined || file.startsWith(MISSION));
}

function idOf(name: string): string | undefined {
  return /^M\d+\w*(?= )/.exec(name)?.[0];
}

test('every promise shown so far has its tests, which ran and passed', () => {
  const passed = ran.filter(({ isGroup, passed }) => passed && !isGroup).map(({ name }) => name);
  const missing = Object.entries(PROMISES).flatMap(([id, needed]) => {
    const ofId = passed.filter((name) => idOf(name) === id);
    return needed
      .filter((pattern) => !ofId.some((name) => pattern.test(name)))
      .map((pattern) => `${id} … ${pattern.source}`);
  });
  assert.deepEqual(missing, [], 'no test of these names ran and passed');
});

test('every test that names a promise names one of those shown so far, once', () => {
  const names = ofPromises().flatMap(({ name }) => (idOf(name) === undefined ? [] : [name]));
  const unknown = names.filter((name) => !(idOf(name)! in PROMISES));
  assert.deepEqual(unknown, []);
  assert.deepEqual(
    names.filter((name, index) => names.indexOf(name) < index),
    [],
  );
});

test('no test of a promise was skipped, put off or failed', () => {
  assert.deepEqual(
    ofPromises().filter(({ passed }) => !passed),
    [],
  );
  const files = new Set(ran.map(({ file }) => file));
  assert.deepEqual(
    globSync(`${MISSION}*.test.ts`).filter((file) => !files.has(file)),
    [],
    'and every file ran',
  );
});
