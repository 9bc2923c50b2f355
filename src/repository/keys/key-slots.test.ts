import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeClock, isHoldfastError, type ErrorCode } from '#base';
import { MemoryDisk, type ObjectStore } from '#storage';

import { encodeKeySlot, makeKeySlot, openKeySlot, parseKeySlot } from './key-slot.ts';
import {
  addKeySlot,
  listKeySlots,
  openKeyring,
  removeKeySlot,
  type NewSlotAccess,
} from './key-slots.ts';
import { Keyring } from './keyring.ts';
import { makeRecoveryKey } from './recovery-key.ts';
import { seededRandom } from './seeded-random.ts';

const random = seededRandom('slots');
const clock = new FakeClock();
const cost = { n: 2 ** 14, r: 1, p: 1 };
const byPassword = (password: string): NewSlotAccess => ({ kdf: 'scrypt', password, cost });

const code =
  (wanted: ErrorCode, message = /./) =>
  (error: unknown): boolean =>
    isHoldfastError(error, wanted) && message.test(error.message);

const newRepository = (): {
  readonly disk: MemoryDisk;
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly add: (access: NewSlotAccess, label: string) => Promise<string>;
  readonly open: (password?: string) => Promise<string>;
} => {
  const disk = new MemoryDisk();
  const store = disk.store();
  const keyring = Keyring.create({ blockSize: 16_384, random });
  return {
    disk,
    store,
    keyring,
    add: async (access, label) =>
      (await addKeySlot({ store, keyring, access, label, clock, random })).slot,
    open: async (password) => {
      const opened = await openKeyring({ store, repository: keyring, password });
      assert.deepEqual(opened.keyring.toWorkerData(), keyring.toWorkerData());
      return opened.slot.label;
    },
  };
};

test('each password and the recovery key open the same keys', async () => {
  const { add, open } = newRepository();
  const recoveryKey = makeRecoveryKey(random);
  await add(byPassword('pässword'), 'alice');
  await add(byPassword('other'), 'bob');
  await add({ kdf: 'recovery', recoveryKey }, 'safe');
  assert.equal(await open('pässword'), 'alice');
  assert.equal(await open('pa\u0308ssword'), 'alice', 'however the letter is composed');
  assert.equal(await open('other'), 'bob');
  assert.equal(await open(` ${recoveryKey.toLowerCase()}\n`), 'safe');
});

test('a wrong password names the slots that were tried', async () => {
  const { add, open } = newRepository();
  await add(byPassword('a'), 'alice');
  await add({ kdf: 'recovery', recoveryKey: makeRecoveryKey(random) }, 'safe');
  await assert.rejects(open('b'), code('PasswordWrong', /tried: alice\)/));
  await assert.rejects(open(makeRecoveryKey(random)), code('PasswordWrong', /safe, alice/));
  await assert.rejects(open(), code('PasswordMissing'));
  await assert.rejects(open(''), code('PasswordWrong', /none that fits/));
});

test('a mistyped recovery key is called that', async () => {
  const { add, open } = newRepository();
  const recoveryKey = makeRecoveryKey(random);
  await add({ kdf: 'recovery', recoveryKey }, 'safe');
  await assert.rejects(open(recoveryKey.slice(0, -1)), code('PasswordWrong', /55 of 56/));
});

test('an unprotected repository opens without a password, and never with one', async () => {
  const { add, open } = newRepository();
  await add({ kdf: 'none' }, 'open');
  assert.equal(await open(), 'open');
  await assert.rejects(open('secret'), code('PasswordWrong', /not encrypted/));
});

test('a broken slot keeps no other from opening', async () => {
  const { disk, store, keyring, add } = newRepository();
  const broken = await add(byPassword('a'), 'alice');
  await add(byPassword('b'), 'bob');
  disk.objects.set(`keys/${broken}`, Buffer.from('{'));
  disk.objects.set('keys/notes.txt', Buffer.from('hello'));
  const opened = await openKeyring({ store, repository: keyring, password: 'b' });
  assert.deepEqual(
    opened.damaged.map(({ name }) => name).toSorted(),
    [`keys/${broken}`, 'keys/notes.txt'].toSorted(),
  );
  await assert.rejects(
    openKeyring({ store, repository: keyring, password: 'a' }),
    code('PasswordWrong', /tried: bob\); damaged: .*not JSON/),
  );
});

test('with only broken slots the error says so', async () => {
  const { disk, add, open } = newRepository();
  await assert.rejects(open('a'), code('KeySlotInvalid', /there is none/));
  const slot = await add(byPassword('a'), 'alice');
  disk.objects.set(`keys/${slot}`, Buffer.alloc(100_000));
  await assert.rejects(open('a'), code('KeySlotInvalid'));
});

test('every flipped bit of a slot is refused or harmless', async () => {
  const keyring = Keyring.create({ blockSize: 16_384, random });
  const access = { kdf: 'recovery', key: Buffer.alloc(32, 9) } as const;
  const slot = await makeKeySlot({ keyring, access, label: 'x', created: 'y', random });
  const encoded = encodeKeySlot(slot);
  let refusedCount = 0;
  for (let bit = 0; bit < encoded.length * 8; bit += 1) {
    const bytes = Buffer.from(encoded);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    try {
      const parsed = parseKeySlot(bytes, { slotId: slot.slot, repository: keyring });
      const opened = await openKeySlot(parsed, access);
      if (opened === undefined) refusedCount += 1;
      else assert.deepEqual(opened.toWorkerData(), keyring.toWorkerData());
    } catch (error) {
      assert.ok(isHoldfastError(error), String(error));
      refusedCount += 1;
    }
  }
  assert.ok(refusedCount > encoded.length * 6, 'only the mac and names for people may change');
});

test('the holder of the keys sees every change that would keep a slot from opening', async () => {
  const { disk, store, keyring, add } = newRepository();
  const slot = await add(byPassword('a'), 'alice');
  const name = `keys/${slot}`;
  const intact = disk.objects.get(name);
  assert.ok(intact);
  for (const field of ['nonce', 'wrapped', 'salt', 'mac']) {
    const record = JSON.parse(intact.toString()) as Record<string, string>;
    const value = record[field] ?? '';
    record[field] = (value.startsWith('0') ? '1' : '0') + value.slice(1);
    disk.objects.set(name, Buffer.from(JSON.stringify(record)));
    const { slots, damaged } = await listKeySlots(store, keyring);
    assert.deepEqual([slots.length, damaged.length], [0, 1], field);
  }
});

test('a slot with a broken mac still opens, and is reported', async () => {
  const { disk, store, keyring, add } = newRepository();
  const name = `keys/${await add(byPassword('a'), 'alice')}`;
  const record = JSON.parse(disk.objects.get(name)?.toString() ?? '') as object;
  disk.objects.set(name, Buffer.from(JSON.stringify({ ...record, mac: '0'.repeat(64) })));
  const opened = await openKeyring({ store, repository: keyring, password: 'a' });
  assert.deepEqual(opened.keyring.toWorkerData(), keyring.toWorkerData());
  assert.deepEqual(
    opened.damaged.map((slot) => slot.name),
    [name],
  );
});

test('scrypt does not run with parameters out of bounds', async () => {
  const keyring = Keyring.create({ blockSize: 16_384, random });
  const slot = await makeKeySlot({
    keyring,
    access: { kdf: 'scrypt', password: 'a' },
    label: '',
    created: '',
    random,
    cost,
  });
  const bad = [
    { n: 2 ** 13 },
    { n: 2 ** 21 },
    { n: 2 ** 14 + 1 },
    { r: 0 },
    { r: 17 },
    { p: 0 },
    { p: 5 },
    { n: 2 ** 20, r: 16 },
    { n: 1e300 },
  ];
  for (const change of bad) {
    const record = { ...(JSON.parse(encodeKeySlot(slot).toString()) as object), ...change };
    assert.throws(
      () =>
        parseKeySlot(Buffer.from(JSON.stringify(record)), {
          slotId: slot.slot,
          repository: keyring,
        }),
      code('ObjectDamaged'),
      JSON.stringify(change),
    );
    await assert.rejects(
      makeKeySlot({
        keyring,
        access: { kdf: 'scrypt', password: 'a' },
        label: '',
        created: '',
        random,
        cost: { ...cost, ...change },
      }),
      code('ArgumentInvalid'),
    );
  }
});

test('a slot of another repository, or under another name, is not used', async () => {
  const ours = newRepository();
  const theirs = newRepository();
  const slot = await theirs.add(byPassword('a'), 'alice');
  const bytes = theirs.disk.objects.get(`keys/${slot}`);
  assert.ok(bytes);
  ours.disk.objects.set(`keys/${slot}`, bytes);
  await assert.rejects(ours.open('a'), code('KeySlotInvalid', /it is of repository/));
  theirs.disk.objects.delete(`keys/${slot}`);
  theirs.disk.objects.set(`keys/${'0'.repeat(32)}`, bytes);
  await assert.rejects(theirs.open('a'), code('KeySlotInvalid', /it says that it is slot/));
});

test('a slot forged without the master key is listed as damaged and does not count', async () => {
  const { disk, store, keyring, add } = newRepository();
  const real = await add(byPassword('a'), 'alice');
  const { repositoryId, blockSize } = keyring;
  const forger = Keyring.fromWorkerData({
    repositoryId,
    blockSize,
    idKey: random(32),
    masters: [{ generation: 1, key: random(32) }],
  });
  const forged = await addKeySlot({
    store,
    keyring: forger,
    access: { kdf: 'none' },
    label: '',
    clock,
    random,
  });
  const { slots, damaged } = await listKeySlots(store, keyring);
  assert.deepEqual(
    slots.map(({ slot }) => slot),
    [real],
  );
  assert.deepEqual(
    damaged.map(({ name }) => name),
    [`keys/${forged.slot}`],
  );
  await assert.rejects(removeKeySlot({ store, keyring, slot: real }), code('ArgumentInvalid'));
  await removeKeySlot({ store, keyring, slot: forged.slot });
  assert.equal(disk.objects.size, 1);
});

test('the last slot that opens stays, however many broken ones there are', async () => {
  const { disk, store, keyring, add, open } = newRepository();
  const first = await add(byPassword('a'), 'alice');
  const second = await add(byPassword('b'), 'bob');
  const broken = disk.objects.get(`keys/${second}`);
  assert.ok(broken);
  disk.objects.set(
    `keys/${second}`,
    Buffer.from(broken.toString().replace(/"nonce": "./, '"nonce": "')),
  );
  await assert.rejects(removeKeySlot({ store, keyring, slot: first }), code('ArgumentInvalid'));
  await removeKeySlot({ store, keyring, slot: second });
  const third = await add(byPassword('c'), 'carol');
  await removeKeySlot({ store, keyring, slot: first });
  await removeKeySlot({ store, keyring, slot: first });
  await assert.rejects(removeKeySlot({ store, keyring, slot: third }), code('ArgumentInvalid'));
  assert.equal(await open('c'), 'carol');
});

test('labels and passwords that cannot serve are refused', async () => {
  const { add, disk } = newRepository();
  await assert.rejects(add(byPassword('a'), 'a\nb'), code('ArgumentInvalid'));
  await assert.rejects(add(byPassword(''), 'a'), code('PasswordMissing'));
  await assert.rejects(add({ kdf: 'recovery', recoveryKey: 'abc' }, 'a'), code('ArgumentInvalid'));
  assert.equal(disk.objects.size, 0);
});

test('the default cost opens', async () => {
  const { add, open } = newRepository();
  await add({ kdf: 'scrypt', password: 'a' }, 'alice');
  assert.equal(await open('a'), 'alice');
});
