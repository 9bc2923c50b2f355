import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';

import { isHoldfastError, type ErrorCode } from '#base';

import { Keyring } from './keyring.ts';
import { maxSealedBytes, openJson, sealJson, type SealedKind } from './sealed-object.ts';
import { seededRandom } from './seeded-random.ts';

const GOLDEN_RAW =
  '4846534f010100000100000011000000cb65f46f2293fe5667288c79132590fcabe09f7cca4b6efc' +
  '6aef9e3dbf40d6a5194e3e6fce4fcf7a2544912954';
const GOLDEN_ZSTD =
  '4846534f010101000100000086030000e5971e17dfdffdc29e1cbe3e52a0f3ee602f70fd1fcef916' +
  'b54bb64c9a0dcc082c9a624d779cf85665c85ac446dfdf5df3fc772f9ddcc192';

const random = seededRandom('sealed');
const keyring = Keyring.create({ blockSize: 16_384, random });
const at = { keyring, kind: 'manifest' as SealedKind, name: 'points/a/1' };

const throwsCode = (act: () => unknown, ...codes: ErrorCode[]): void => {
  assert.throws(act, (error) => isHoldfastError(error) && codes.includes(error.code));
};

test('any JSON comes back as it was', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const plain: unknown = JSON.parse(JSON.stringify(value));
      assert.deepEqual(openJson({ ...at, bytes: sealJson({ ...at, value, random }) }), plain);
    }),
  );
});

test('long JSON is stored compressed, short and incompressible JSON as it is', () => {
  const long = sealJson({ ...at, value: 'x'.repeat(100_000), random });
  assert.equal(long[6], 1);
  assert.ok(long.length < 1000);
  assert.equal(openJson({ ...at, bytes: long }), 'x'.repeat(100_000));
  const short = sealJson({ ...at, value: 'x'.repeat(400), random });
  assert.equal(short[6], 0);
  assert.equal(short.length, 28 + 402 + 16);
});

test('every flipped bit is found, in a raw and in a compressed object', () => {
  for (const value of [{ a: 1 }, 'abc'.repeat(500)]) {
    const sealed = sealJson({ ...at, value, random });
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const bytes = Buffer.from(sealed);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      throwsCode(() => openJson({ ...at, bytes }), 'ObjectDamaged', 'FormatUnsupported');
    }
  }
});

test('an object cut short or made longer is found', () => {
  const sealed = sealJson({ ...at, value: 'abc'.repeat(500), random });
  for (let size = 0; size < sealed.length; size += 1) {
    throwsCode(() => openJson({ ...at, bytes: sealed.subarray(0, size) }), 'ObjectDamaged');
  }
  throwsCode(
    () => openJson({ ...at, bytes: Buffer.concat([sealed, Buffer.alloc(1)]) }),
    'ObjectDamaged',
  );
});

test('an object under another name, of another kind or repository is found', () => {
  const bytes = sealJson({ ...at, value: 1, random });
  throwsCode(() => openJson({ ...at, name: 'points/a/2', bytes }), 'ObjectDamaged');
  throwsCode(() => openJson({ ...at, kind: 'document', bytes }), 'ObjectDamaged');
  const { idKey, masters, blockSize } = keyring.toWorkerData();
  const twin = Keyring.fromWorkerData({ repositoryId: random(16), idKey, masters, blockSize });
  throwsCode(() => openJson({ ...at, keyring: twin, bytes }), 'ObjectDamaged');
});

test('the error names the object and the reason', () => {
  const bytes = sealJson({ ...at, value: 1, random });
  bytes[bytes.length - 1]! ^= 1;
  assert.throws(() => openJson({ ...at, bytes }), /points\/a\/1 is damaged: it is not authentic/);
});

test('a newer version asks for a newer Holdfast', () => {
  const bytes = sealJson({ ...at, value: 1, random });
  bytes[4] = 2;
  throwsCode(() => openJson({ ...at, bytes }), 'FormatUnsupported');
});

test('an impossible length is refused before anything is decrypted', () => {
  const bytes = sealJson({ ...at, kind: 'log', value: 'x'.repeat(5000), random });
  bytes.writeUInt32LE(16 * 1024 * 1024 + 1, 12);
  assert.throws(() => openJson({ ...at, kind: 'log', bytes }), /its length is impossible/);
});

test('an object that no reader would take is not sealed', () => {
  const value = 'x'.repeat(16 * 1024 * 1024);
  throwsCode(() => sealJson({ ...at, kind: 'log', value, random }), 'ArgumentInvalid');
  const largest = sealJson({ ...at, kind: 'log', value: value.slice(2), random });
  assert.ok(largest.length <= maxSealedBytes('log'));
});

test('no two objects share a nonce', () => {
  const nonces = Array.from({ length: 1000 }, () =>
    sealJson({ ...at, value: 1, random }).toString('hex', 16, 28),
  );
  assert.equal(new Set(nonces).size, 1000);
});

test('an object sealed by the first version opens', () => {
  const golden = Keyring.fromWorkerData({
    repositoryId: Buffer.alloc(16, 7),
    blockSize: 16_384,
    idKey: Buffer.alloc(32, 0x11),
    masters: [{ generation: 1, key: Buffer.alloc(32, 0x22) }],
  });
  const raw = { keyring: golden, kind: 'log' as const, name: 'log/00000000000000000000' };
  const sealed = sealJson({ ...raw, value: { hello: 'world' }, random: seededRandom('golden') });
  assert.equal(sealed.toString('hex'), GOLDEN_RAW);
  const bytes = Buffer.from(GOLDEN_ZSTD, 'hex');
  assert.equal(openJson({ ...raw, bytes }), 'holdfast '.repeat(100));
});
