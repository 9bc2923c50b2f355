import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';

import { isHoldfastError } from '#base';

import { Keyring, type KeyLabel } from './keyring.ts';
import { seededRandom } from './seeded-random.ts';

// Computed independently from docs/format.md as well; a change here is a change of the format.
const GOLDEN_IDS = {
  block: '8c756188c327af82fd810b0fa9974721',
  page: '66a7ae79b26084dba710dd301304b6d0',
  item: '4bb0361eb37e71374028472a039fbb49',
  chain: 'e55d6acfcc3d7734aea0cc0778cf9238',
};
const GOLDEN_KEYS = {
  log: '0520eaf662258f5c6c10534d0f891ffd057d5fa9bb68c08c05e18b009a50f71a',
  checkpoint: '37cc2023749fa31503882cb9748f1190ca2ab0ed91e115f88d5c4e1275631b92',
  manifest: '2513bd818a167c579d76bf80a3e576e4e07b1ea5098822de8a2b4bd7ab565283',
  document: '9218ea1a9d078835e87d28ca5630a8598a79e4ee914769906f13f4d8328c92c2',
  slot: '6a9119ffed6aec2a98bb4f27caa4822ce80ff1e811c6e6e2301725703b4d4ceb',
  secrets: 'dce0b1b0875fde4a01b127094dfbdd396c2674cea3dd2aadf4d9eda3be418942',
  log2: '99d9517e1e5a7de533c994c1d946fd13eb42cf15f3e064760c03155c460b2b53',
  pack: '7763b33247b04d90644e5688c0b3fcb1e1bce1ef880b8a90738de1e8a25978dc',
};

const golden = Keyring.fromWorkerData({
  repositoryId: Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
  blockSize: 16_384,
  idKey: Buffer.alloc(32, 0x11),
  masters: [
    { generation: 1, key: Buffer.alloc(32, 0x22) },
    { generation: 2, key: Buffer.alloc(32, 0x33) },
  ],
});

test('ids are those of the format, for ever', () => {
  const content = Buffer.alloc(16_384, 0x5a);
  assert.deepEqual(
    {
      block: golden.blockId(content).toString('hex'),
      page: golden.pageId(content).toString('hex'),
      item: golden.itemId('web server ü'),
      chain: golden.chainKey('web server ü', 'vda'),
    },
    GOLDEN_IDS,
  );
});

test('derived keys are those of the format, for ever', () => {
  const labels: KeyLabel[] = ['log', 'checkpoint', 'manifest', 'document', 'slot', 'secrets'];
  const derived = Object.fromEntries(
    labels.map((label) => [label, golden.sealingKey(label, 1).export().toString('hex')]),
  );
  const packId = Buffer.from('a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00000007', 'hex');
  assert.deepEqual(
    {
      ...derived,
      log2: golden.sealingKey('log', 2).export().toString('hex'),
      pack: golden.packKey(packId, 1).export().toString('hex'),
    },
    GOLDEN_KEYS,
  );
});

test('a keyring sent to a worker gives the same ids and keys', () => {
  const keyring = Keyring.create({ blockSize: 65_536, random: seededRandom('worker') });
  const twin = Keyring.fromWorkerData(structuredClone(keyring.toWorkerData()));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), (content) => {
      assert.deepEqual(twin.blockId(content), keyring.blockId(content));
      assert.notDeepEqual(twin.pageId(content), keyring.blockId(content));
    }),
  );
  assert.equal(twin.blockSize, 65_536);
  assert.equal(twin.generation, 1);
  assert.ok(twin.sealingKey('log', 1).equals(keyring.sealingKey('log', 1)));
});

test('sealing keys are derived once', () => {
  assert.equal(golden.sealingKey('log', 2), golden.sealingKey('log', 2));
});

test('the newest generation seals', () => {
  assert.equal(golden.generation, 2);
});

test('a generation that is not there is damage, not a bug', () => {
  assert.throws(
    () => golden.sealingKey('log', 3),
    (error) => isHoldfastError(error, 'ObjectDamaged'),
  );
});

test('different pairs of names are different chains', () => {
  assert.notEqual(golden.chainKey('ab', 'c'), golden.chainKey('a', 'bc'));
  for (const name of ['', 'a\0b', '\ud800']) {
    assert.throws(
      () => golden.chainKey(name, 'vda'),
      (error) => isHoldfastError(error, 'ArgumentInvalid'),
    );
  }
});
