import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { MemoryDisk } from '#storage';
import { compressFrame } from './frame.ts';
import { readFooter, checkPackEnds } from './footer-reader.ts';
import {
  checkSlot,
  readFrame,
  readSealedFrame,
  readSealedRun,
  recodeSealed,
} from './frame-reader.ts';
import { idOf, shareOf } from './pack-footer.ts';
import { content, pendingFrame, testKeys, testPack, testPackId } from './pack-fixture.ts';
import { PackWriter } from './pack-writer.ts';
import { scanPack } from './pack-scan.ts';

test('a pack comes back: footer, frames and slots, of both kinds', async () => {
  for (const kind of ['data', 'page'] as const) {
    const { store, keys, sealed, raws, disk, name } = await testPack({ kind });
    assert.equal(disk.objects.get(name)?.length, sealed.sizeBytes);
    const footer = await readFooter({ store, keys, packId: sealed.packId, kind });
    assert.deepEqual(footer, sealed.footer);
    await checkPackEnds(store, footer);
    assert.deepEqual([...footer.codecs], [1, 1, 0]);
    for (const [frame, raw] of raws.entries()) {
      assert.deepEqual(await readFrame({ store, keys, footer, frame }), raw);
      for (let slot = 0; slot < raw.length / footer.unitBytes; slot++) {
        const id = idOf(footer, frame, slot);
        const found = checkSlot({ keys, footer, frame, slot, raw, id });
        assert.deepEqual(
          found,
          raw.subarray(slot * footer.unitBytes, (slot + 1) * footer.unitBytes),
        );
      }
    }
  }
});

test('the shares of the slots add up to the sealed frame', async () => {
  const { footer } = (await testPack({ slots: [7, 3] })).sealed;
  for (const frame of [0, 1]) {
    const slots = footer.slotCounts[frame] ?? 0;
    const shares = Array.from({ length: slots }, (_, slot) => shareOf(footer, frame, slot));
    assert.equal(
      shares.reduce((sum, share) => sum + share, 0),
      footer.sealedLengths[frame],
    );
    assert.equal(shares[0], Math.floor((footer.sealedLengths[frame] ?? 0) / slots));
  }
});

test('a fully live frame moves to another pack without decompression', async () => {
  const { store, keys, sealed, raws } = await testPack();
  const writer = new PackWriter({ store, keys, packId: testPackId(1), kind: 'data' });
  for (const frame of [2, 0]) {
    const bytes = await readSealedFrame({ store, footer: sealed.footer, frame });
    await writer.addFrame(recodeSealed({ keys, footer: sealed.footer, frame, sealed: bytes }));
  }
  const moved = (await writer.seal()).footer;
  for await (const { frame, raw } of scanPack({ store, keys }, moved)) {
    assert.deepEqual(raw, raws[frame === 0 ? 2 : 0]);
  }
});

test('consecutive frames are read by one request', async () => {
  const { store, keys, sealed, raws } = await testPack({ slots: [1, 2, 3, 1] });
  const run = await readSealedRun({ store, footer: sealed.footer, firstFrame: 1, frameCount: 2 });
  for (const [index, bytes] of run.entries()) {
    const { frame } = recodeSealed({
      keys,
      footer: sealed.footer,
      frame: 1 + index,
      sealed: bytes,
    });
    assert.deepEqual(frame.bytes, compressFrame(raws[1 + index] ?? Buffer.alloc(0)).bytes);
  }
});

test('an unused writer leaves nothing behind, an abandoned one nothing visible', async () => {
  const disk = new MemoryDisk();
  const options = { store: disk.store(), keys: testKeys(), kind: 'data' } as const;
  await new PackWriter({ ...options, packId: testPackId(0) }).abandon();
  assert.equal(disk.callCount, 0);
  const writer = new PackWriter({ ...options, packId: testPackId(1) });
  await writer.addFrame(pendingFrame(options.keys, 'data', content('a', 512)));
  await writer.abandon();
  await writer.abandon();
  assert.deepEqual([disk.objects.size, disk.unfinished.size], [0, 0]);
  await assert.rejects(writer.seal());
});

test('a pack is full at 4096 frames', async () => {
  const keys = testKeys();
  const options = { store: new MemoryDisk().store(), keys, packId: testPackId() };
  const writer = new PackWriter({ ...options, kind: 'data' });
  const frame = pendingFrame(keys, 'data', content('a', 512));
  for (let number = 0; number < 4096; number++) {
    assert.equal(writer.isFull, false);
    assert.equal(await writer.addFrame(frame), number);
  }
  assert.equal(writer.isFull, true);
  await assert.rejects(writer.addFrame(frame));
  const expected = writer.sizeBytes;
  const sealed = await writer.seal();
  assert.equal(sealed.sizeBytes, expected);
  assert.deepEqual(await readFooter({ ...options, sizeBytes: expected }), sealed.footer);
});

test('a footer larger than one request is read by two', async () => {
  const pack = await testPack({
    slots: Array.from({ length: 90 }, () => 255),
    keys: testKeys({ blockSize: 64 }),
  });
  const { store, keys, sealed, disk } = pack;
  assert.ok(sealed.footer.ids.length > 256 * 1024);
  disk.plan = undefined;
  const request = { store, keys, packId: sealed.packId, sizeBytes: sealed.sizeBytes };
  assert.deepEqual(await readFooter(request), sealed.footer);
  assert.equal(disk.callCount, 2);
});

test('frames that break the format are refused before anything is written', async () => {
  const keys = testKeys();
  const disk = new MemoryDisk();
  const options = { store: disk.store(), keys, packId: testPackId(), kind: 'data' } as const;
  const good = pendingFrame(keys, 'data', content('a', 1024));
  const bad = [
    { ...good, ids: good.ids.subarray(16) },
    { ...good, ids: Buffer.alloc(32) },
    { ...good, ids: Buffer.alloc(0) },
    { ...good, frame: { ...good.frame, rawLength: 512 } },
    { ...good, frame: { ...good.frame, codec: 0 as const } },
  ];
  for (const frame of bad) await assert.rejects(new PackWriter(options).addFrame(frame));
  assert.equal(disk.callCount, 0);
});

test('whatever call of the store fails, the error comes out and nothing sealed is sealed again', async () => {
  const keys = testKeys();
  const frame = pendingFrame(keys, 'data', content('a', 1024));
  for (let atCall = 1; ; atCall++) {
    const disk = new MemoryDisk();
    disk.plan = { atCall, kind: 'transient' };
    const writer = new PackWriter({
      store: disk.store(),
      keys,
      packId: testPackId(),
      kind: 'data',
    });
    const work = async (): Promise<void> => {
      for (let number = 0; number < 3; number++) await writer.addFrame(frame);
      await writer.seal();
    };
    let failure: unknown;
    await work().catch((error: unknown) => (failure = error));
    if (failure === undefined) {
      assert.ok(atCall > 5);
      return;
    }
    assert.ok(isHoldfastError(failure, 'StoreFailed'));
    assert.equal(disk.objects.size, 0);
    await assert.rejects(writer.addFrame(frame), { code: 'ERR_ASSERTION' });
    await assert.rejects(writer.seal(), { code: 'ERR_ASSERTION' });
  }
});

test('a name that was used before is not overwritten', async () => {
  const { disk, keys, sealed, store, name } = await testPack();
  const before = disk.objects.get(name);
  const writer = new PackWriter({ store, keys, packId: sealed.packId, kind: 'data' });
  await writer.addFrame(pendingFrame(keys, 'data', content('other', 512)));
  await assert.rejects(writer.seal(), (error) => isHoldfastError(error, 'ObjectExists'));
  assert.deepEqual(disk.objects.get(name), before);
});
