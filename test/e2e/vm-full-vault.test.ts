/** The repository's disk is full in the middle of a live backup: no point, the guest runs on, no change is lost. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { run, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { assertCleanFileSystem, moreRecords, recordsIn, startWriting } from './records.ts';
import { assertNothingLeft, Site } from './vm-site.ts';

withoutPasswords();

test('a vault that is full: the backup fails in one line, and the next one has the changes of both', async (t) => {
  const site = await Site.make(t);
  const { repository } = site;
  const mount = async (...args: readonly string[]): Promise<void> => {
    await promisify(execFile)('mount', [...args]);
  };
  await mount('-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', repository);
  try {
    await failAndGoOn(site, async () => await mount('-o', 'remount,size=256m', repository));
  } finally {
    await promisify(execFile)('umount', ['-l', repository]);
  }
});

async function failAndGoOn(site: Site, enlarge: () => Promise<void>): Promise<void> {
  const { guest, repository } = site;
  await succeed(['repo', 'init', repository, '--no-encryption']);
  await startWriting(guest);
  await moreRecords(guest, 3);
  const first = await site.backUp();
  await guest.sh('dd if=/dev/urandom of=/data/large bs=1M count=30 conv=fsync 2>/dev/null');
  const failed = await run(await site.backupCommand());
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /\[StoreFull\]/);
  const written = await moreRecords(guest, 3);
  await enlarge();
  const second = await site.backUp();
  assert.equal(second.disks[0]!.tracking, 'bitmap');
  assert.ok(second.disks[0]!.changed >= 30 * 1024 * 1024);
  const image = await site.restored(second.pointId);
  await assertCleanFileSystem(image);
  assert.ok((await recordsIn(image)) >= written);
  await assertNothingLeft(guest, second.pointId);
  await site.restored(first.pointId);
}
