/**
 * Increments that QEMU pushes hold only what the bitmap counted, and nothing can audit it. So from time to time all
 * of a disk is pushed and compared, and a change that the bitmap missed is found then.
 */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { test } from 'node:test';
import { succeed } from '../cli/holdfast.ts';
import { THREADS, twoImages } from './qemu-subject.ts';
import { guestFolder, startGuest } from './tiny-guest.ts';
import { assertNothingLeft, Site, type Taken } from './vm-site.ts';

/** As `MOST_UNAUDITED` in tracking-bases.ts. */
const PUSHED = 7;
/** Of a file system that nobody writes to: the middle of a raw image. */
const UNTOUCHED = 200 * 1024 * 1024;

test('after seven pushed increments a disk is read whole and its bitmap audited; what it missed is found and said', async (t) => {
  const folder = await guestFolder(t);
  const images = await twoImages(folder);
  await succeed(['repo', 'init', `${folder}/repository`, '--no-encryption']);
  const guest = await startGuest(t, { disks: images, args: THREADS });
  const site = new Site(folder, guest);
  const trackingOf = ({ disks }: Taken): string[] => disks.map(({ tracking }) => tracking);
  const pushed = async (): Promise<Taken> => {
    await guest.sh('date >>/data/log; date >>/data2/log; sync');
    return await site.backUp('--no-quiesce');
  };
  assert.deepEqual(trackingOf(await pushed()), ['initial', 'initial']);
  for (let count = 1; count <= PUSHED; count += 1) {
    assert.deepEqual(trackingOf(await pushed()), ['bitmap', 'bitmap'], `increment ${count}`);
  }
  const audited = await pushed();
  for (const { name, tracking, reason, read, changed, size } of audited.disks) {
    assert.equal(tracking, 'compare', name);
    assert.match(reason!, /^read whole to audit its bitmap: the last 7 increments were pushed/);
    assert.ok(
      read > 8 * changed && changed < size / 20,
      `${name}: ${read} read, ${changed} changed`,
    );
  }
  await assertNothingLeft(guest, audited.pointId);

  for (let count = 1; count <= PUSHED; count += 1) {
    assert.deepEqual(trackingOf(await pushed()), ['bitmap', 'bitmap'], `increment ${count}`);
    if (count === 3) await writeBehind(images[1]!);
  }
  const missing = await pushed();
  assert.match(missing.disks[0]!.reason!, /^read whole to audit/);
  assert.match(missing.disks[1]!.reason!, /^it misses changes \(at 209715200\)/);
  assert.deepEqual(await bytesAt(await site.restored(missing.pointId, 'vd1')), MARK);
  const after = await pushed();
  assert.equal(after.disks[0]!.tracking, 'bitmap');
  assert.match(after.disks[1]!.reason!, /its tracking was found wrong when point/);
  assert.deepEqual(trackingOf(await pushed()), ['bitmap', 'bitmap']);
});

const MARK = Buffer.from('written behind the back of the bitmap');

async function writeBehind(image: string): Promise<void> {
  const file = await open(image, 'r+');
  await file.write(MARK, 0, MARK.length, UNTOUCHED);
  await file.close();
}

async function bytesAt(image: string): Promise<Buffer> {
  const file = await open(image, 'r');
  const { buffer } = await file.read(Buffer.alloc(MARK.length), 0, MARK.length, UNTOUCHED);
  await file.close();
  return buffer;
}
