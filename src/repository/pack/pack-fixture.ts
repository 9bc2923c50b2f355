/** What the tests of this folder share: keys with real cryptography, frames, a pack in memory. */
import { createHash, createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import { MemoryDisk, type ObjectStore } from '#storage';
import { compressFrame, type PendingFrame } from './frame.ts';
import { packIdOf } from './pack-id.ts';
import { ID_BYTES, unitOf, type PackKeys, type PackKind } from './pack-layout.ts';
import { PackWriter, type SealedPack } from './pack-writer.ts';

export type Keys = PackKeys & { readonly repositoryId: Buffer };

export function testKeys({ seed = 'a', generation = 1, blockSize = 512 } = {}): Keys {
  const secret = (label: string): Buffer =>
    createHash('sha256').update(`${seed}/${label}`).digest();
  const id = (kind: number) => (content: Buffer) =>
    createHmac('sha256', secret('id'))
      .update(Buffer.of(kind))
      .update(content)
      .digest()
      .subarray(0, ID_BYTES);
  return {
    repositoryId: secret('repository').subarray(0, 16),
    blockSize,
    generation,
    blockId: id(1),
    pageId: id(2),
    packKey: (packId, wanted) => {
      if (wanted < 1 || wanted > generation) throw new Error(`no generation ${wanted}`);
      const info = Buffer.concat([Buffer.from('pack/'), packId]);
      const key = hkdfSync('sha256', secret(`master ${wanted}`), secret('repository'), info, 32);
      return createSecretKey(Buffer.from(key));
    },
  };
}

/** Bytes that compress about as well as real disks do; the same seed gives the same. */
export function content(seed: string, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  for (let start = 0, part = 0; start < lengthBytes; start += 64, part++) {
    createHash('sha256').update(`${seed}/${part}`).digest().copy(bytes, start);
  }
  return bytes;
}

export function pendingFrame(keys: PackKeys, kind: PackKind, raw: Buffer): PendingFrame {
  const unit = unitOf(kind, keys.blockSize);
  const ids: Buffer[] = [];
  for (let start = 0; start < raw.length; start += unit) {
    const slot = raw.subarray(start, start + unit);
    ids.push(kind === 'data' ? keys.blockId(slot) : keys.pageId(slot));
  }
  return { frame: compressFrame(raw), ids: Buffer.concat(ids) };
}

export function testPackId(counter = 0, session = 's'): Buffer {
  const hash = createHash('sha256').update(session).digest();
  return packIdOf({ session: hash.subarray(0, 16), counter });
}

export type TestPack = {
  readonly disk: MemoryDisk;
  readonly store: ObjectStore;
  readonly keys: Keys;
  readonly sealed: SealedPack;
  readonly name: string;
  readonly raws: readonly Buffer[];
};

type PackPlan = {
  readonly keys?: Keys;
  readonly kind?: PackKind;
  readonly packId?: Buffer;
  /** Slots of each frame. */
  readonly slots?: readonly number[];
  readonly disk?: MemoryDisk;
};

/** A pack in memory; its last frame does not compress. */
export async function testPack(plan: PackPlan = {}): Promise<TestPack> {
  const { keys = testKeys(), kind = 'data', packId = testPackId(), slots = [2, 1, 3] } = plan;
  const disk = plan.disk ?? new MemoryDisk();
  const store = disk.store();
  const writer = new PackWriter({ store, keys, packId, kind });
  const unit = unitOf(kind, keys.blockSize);
  const raws = slots.map((count, frame) => {
    const raw = content(`${packId.toString('hex')} ${frame}`, count * unit);
    return frame === slots.length - 1 ? fillRandom(raw) : raw;
  });
  for (const raw of raws) await writer.addFrame(pendingFrame(keys, kind, raw));
  const sealed = await writer.seal();
  return { disk, store, keys, sealed, raws, name: sealed.footer.name };
}

function fillRandom(raw: Buffer): Buffer {
  const key = createHash('sha256').update(raw).digest();
  return Buffer.from(hkdfSync('sha512', key, key, 'raw', Math.min(raw.length, 16_000)));
}
