import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { isHoldfastError, type HoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { checkPackEnds, readFooter } from './footer-reader.ts';
import { checkSlot, readFrame } from './frame-reader.ts';
import { PackCipher } from './pack-cipher.ts';
import { decodeFooter, encodeFooter, idOf } from './pack-footer.ts';
import { content, testKeys, testPack, testPackId, type TestPack } from './pack-fixture.ts';
import { encodeTrailer, type PackKeys } from './pack-layout.ts';
import { scanPack } from './pack-scan.ts';

type Reading = {
  readonly store: ObjectStore;
  readonly keys: PackKeys;
  readonly packId: Buffer;
  readonly sizeBytes?: number;
};

/** Reads all of a pack; every error of it. */
async function damageOf({ store, keys, packId, sizeBytes }: Reading): Promise<HoldfastError[]> {
  const found: HoldfastError[] = [];
  try {
    const footer = await readFooter({ store, keys, packId, sizeBytes, kind: 'data' });
    await checkPackEnds(store, footer);
    for await (const { damage } of scanPack({ store, keys }, footer)) {
      if (damage !== undefined) found.push(damage);
    }
  } catch (error) {
    assert.ok(isHoldfastError(error), String(error));
    found.push(error);
  }
  return found;
}

/** Asserts that reading finds damage that names the pack. */
async function assertDamaged(pack: TestPack, bytes: Buffer, what: string): Promise<void> {
  const { disk, store, keys, name, sealed } = pack;
  disk.objects.set(name, bytes);
  for (const hint of [{}, { sizeBytes: sealed.sizeBytes }]) {
    const found = await damageOf({ store, keys, packId: sealed.packId, ...hint });
    assert.ok(found.length > 0, what);
    for (const { code, details } of found) {
      assert.deepEqual([code, details['object']], ['ObjectDamaged', name], what);
    }
  }
}

function bytesOf({ disk, name }: TestPack): Buffer {
  const bytes = disk.objects.get(name);
  assert.ok(bytes);
  return bytes;
}

test('every flipped bit of a pack is found when it is read whole', async () => {
  const pack = await testPack();
  const good = bytesOf(pack);
  for (let offset = 0; offset < good.length; offset++) {
    const bytes = Buffer.from(good);
    bytes[offset] = (bytes[offset] ?? 0) ^ (1 << (offset % 8));
    await assertDamaged(pack, bytes, `byte ${offset}`);
  }
  pack.disk.objects.set(pack.name, good);
  assert.deepEqual(await damageOf({ ...pack, packId: pack.sealed.packId }), []);
});

test('a truncation to any length, and bytes at the end, are found', async () => {
  const pack = await testPack();
  const good = bytesOf(pack);
  for (let length = 0; length < good.length; length++) {
    await assertDamaged(pack, good.subarray(0, length), `length ${length}`);
  }
  await assertDamaged(pack, Buffer.concat([good, Buffer.alloc(1)]), 'one byte more');
  await assertDamaged(pack, Buffer.concat([good, good]), 'twice');
});

test('damage to one frame does not hide the others and names its frame', async () => {
  const pack = await testPack();
  const bytes = Buffer.from(bytesOf(pack));
  const start = pack.sealed.footer.offsets[1] ?? 0;
  bytes[start] = (bytes[start] ?? 0) ^ 1;
  pack.disk.objects.set(pack.name, bytes);
  const { store, keys, sealed } = pack;
  const frames: (number | undefined)[] = [];
  for await (const { frame, raw, damage } of scanPack({ store, keys }, sealed.footer)) {
    frames.push(raw === undefined ? undefined : frame);
    assert.equal(damage?.details['frame'], frame === 1 ? 1 : undefined);
  }
  assert.deepEqual(frames, [0, undefined, 2]);
  await assert.rejects(readFrame({ store, keys, footer: sealed.footer, frame: 1 }), /frame 1/);
});

test('another pack under the name, of the same or another repository, is found', async () => {
  const pack = await testPack();
  const sibling = await testPack({ packId: testPackId(1) });
  await assertDamaged(pack, bytesOf(sibling), 'sibling');
  const foreign = await testPack({ keys: testKeys({ seed: 'other' }) });
  await assertDamaged(pack, bytesOf(foreign), 'foreign');
  const pages = await testPack({ kind: 'page' });
  await assertDamaged(pack, bytesOf(pages), 'page pack');
});

test('frames that change places are found', async () => {
  const pack = await testPack({ slots: [1, 1, 1, 1] });
  const { offsets, sealedLengths } = pack.sealed.footer;
  const bytes = Buffer.from(bytesOf(pack));
  const equal = [0, 1, 2, 3].filter((frame) => sealedLengths[frame] === sealedLengths[0]);
  const [a = 0, b = 1] = equal;
  assert.notEqual(a, b);
  const length = sealedLengths[0] ?? 0;
  bytesOf(pack).copy(bytes, offsets[a], offsets[b], (offsets[b] ?? 0) + length);
  bytesOf(pack).copy(bytes, offsets[b], offsets[a], (offsets[a] ?? 0) + length);
  await assertDamaged(pack, bytes, 'swapped');
});

test('a pack that is gone is ObjectNotFound', async () => {
  const { disk, store, keys, name, sealed } = await testPack();
  disk.objects.delete(name);
  const gone = (error: unknown): boolean => isHoldfastError(error, 'ObjectNotFound');
  await assert.rejects(readFooter({ store, keys, packId: sealed.packId }), gone);
  await assert.rejects(readFooter({ store, keys, packId: sealed.packId, sizeBytes: 999 }), gone);
  await assert.rejects(readFrame({ store, keys, footer: sealed.footer, frame: 0 }), gone);
});

test('a forged trailer or size with huge lengths allocates nothing', async () => {
  const pack = await testPack();
  const { store, keys, sealed } = pack;
  const good = bytesOf(pack);
  const before = process.memoryUsage().arrayBuffers;
  const { sizeBytes } = sealed;
  for (const lengths of [
    { footerBytes: 0xffffffff, frameCount: 4096, sizeBytes },
    { footerBytes: 0xfffffff0, frameCount: 0xffffffff, sizeBytes: 0xffffffff },
    { footerBytes: 40, frameCount: 0, sizeBytes },
    { footerBytes: 0, frameCount: 1, sizeBytes },
  ]) {
    const trailer = encodeTrailer({ header: sealed.footer, ...lengths });
    const bytes = Buffer.concat([good.subarray(0, good.length - trailer.length), trailer]);
    await assertDamaged(pack, bytes, JSON.stringify(lengths));
  }
  for (const size of [0, 1, 79, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    assert.equal(
      (await damageOf({ store, keys, packId: sealed.packId, sizeBytes: size })).length,
      1,
    );
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 2 ** 20);
});

test('a sealed footer that breaks a rule of the format is refused', async () => {
  const { sealed, keys } = await testPack();
  const { footer } = sealed;
  const plain = encodeFooter(footer);
  const context = { header: footer, blockSize: keys.blockSize, sizeBytes: footer.sizeBytes };
  assert.deepEqual(decodeFooter(plain, context), footer);
  const second = 8 + 16;
  const forgeries: [what: string, forge: (bytes: Buffer) => void][] = [
    ['frames', (bytes) => bytes.writeUInt32LE(4, 0)],
    ['no frames', (bytes) => bytes.writeUInt32LE(0, 0)],
    ['huge frames', (bytes) => bytes.writeUInt32LE(0xffffffff, 0)],
    ['unit', (bytes) => bytes.writeUInt32LE(1024, 4)],
    ['offset', (bytes) => bytes.writeUInt32LE(33, second)],
    ['sealed length', (bytes) => bytes.writeUInt32LE(0xffffffff, second + 4)],
    ['shorter', (bytes) => bytes.writeUInt32LE((footer.sealedLengths[1] ?? 0) - 1, second + 4)],
    ['raw length', (bytes) => bytes.writeUInt32LE(0xffffffff, second + 8)],
    ['slots', (bytes) => bytes.writeUInt16LE(2, second + 12)],
    ['no slots', (bytes) => bytes.writeUInt16LE(0, second + 12)],
    ['too many slots', (bytes) => bytes.writeUInt16LE(256, second + 12)],
    ['codec', (bytes) => bytes.writeUInt8(2, second + 14)],
    ['reserved', (bytes) => bytes.writeUInt8(1, second + 15)],
    ['zero id', (bytes) => bytes.fill(0, bytes.length - 16)],
  ];
  for (const [what, forge] of forgeries) {
    const bytes = Buffer.from(plain);
    forge(bytes);
    const damaged = (error: unknown): boolean => isHoldfastError(error, 'ObjectDamaged');
    assert.throws(() => decodeFooter(bytes, context), damaged, what);
  }
  for (let length = 0; length < plain.length; length++) {
    assert.throws(() => decodeFooter(plain.subarray(0, length), context), `length ${length}`);
  }
});

test('a slot whose content has another id is found', async () => {
  const { keys, sealed, raws } = await testPack();
  const raw = raws[0] ?? Buffer.alloc(0);
  const request = { keys, footer: sealed.footer, frame: 0, slot: 0, raw };
  const wrong = [idOf(sealed.footer, 0, 1), randomBytes(16)];
  for (const id of wrong) assert.throws(() => checkSlot({ ...request, id }), /slot 0/);
  assert.throws(() => checkSlot({ ...request, slot: 2, id: idOf(sealed.footer, 0, 0) }));
});

test('a frame opens only as itself: number, pack, kind, generation and repository', () => {
  const keys = testKeys({ generation: 2 });
  const header = { packId: testPackId(), kind: 'data', generation: 1 } as const;
  const sealed = new PackCipher(keys, header).sealFrame(7, content('a', 100));
  const others = [
    new PackCipher(keys, { ...header, kind: 'page' }),
    new PackCipher(keys, { ...header, generation: 2 }),
    new PackCipher(keys, { ...header, packId: testPackId(1) }),
    new PackCipher({ ...keys, repositoryId: randomBytes(16) }, header),
  ];
  for (const other of others) assert.throws(() => other.openFrame(7, sealed), /authentication/);
  const same = new PackCipher(keys, header);
  assert.throws(() => same.openFrame(8, sealed), /authentication/);
  assert.throws(() => same.openFooter(sealed), /authentication/);
  assert.deepEqual(same.openFrame(7, sealed), content('a', 100));
});
