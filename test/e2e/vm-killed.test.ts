/**
 * Holdfast is killed at every moment of a live backup: the guest is thawed and writes on, no change is lost,
 * nothing of ours stays in QEMU, and the next backup is right.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, start, withoutPasswords } from '../cli/holdfast.ts';
import { assertCleanFileSystem, moreRecords, recordsIn, startWriting } from './records.ts';
import { assertNothingLeft, Site } from './vm-site.ts';

withoutPasswords();

/** Of the length of a whole backup: from its first command in QEMU to its last. */
const MOMENTS = [0.35, 0.55, 0.65, 0.72, 0.8, 0.9, 0.98];

test('Holdfast killed at every step of a live backup', async (t) => {
  const site = await Site.make(t);
  const { guest } = site;
  await startWriting(guest);
  await moreRecords(guest, 5);
  await site.backUp();
  const command = await site.backupCommand();
  const startedMs = performance.now();
  await ended(start(command));
  const wholeMs = performance.now() - startedMs;
  for (const moment of MOMENTS) {
    await t.test(`at ${Math.round(moment * 100)} % of its time`, async () => {
      const written = await moreRecords(guest, 2);
      const child = start(command);
      const end = ended(child);
      await sleep(moment * wholeMs);
      child.kill('SIGKILL');
      await end;
      // Killed while it was frozen, the guest thaws by itself; its agent does not know, and is told by this.
      const { pointId, disks, consistency } = await site.backUp();
      assert.equal(consistency, 'FileSystemConsistent');
      assert.equal(disks[0]!.tracking, 'bitmap', disks[0]!.reason);
      const image = await site.restored(pointId);
      await assertCleanFileSystem(image);
      assert.ok((await recordsIn(image)) >= written);
      await assertNothingLeft(guest, pointId);
      await moreRecords(guest, 2);
    });
  }
});
