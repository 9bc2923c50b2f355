import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crowdedAccounts } from '../doctor/account-findings.ts';
import { chooseAccount, warnOfLoad, type Candidate } from './account-loads.ts';

const accountOf = (name: string) =>
  ({ group: 'g', name, location: 'local', path: `/${name}`, restoresAtOnce: undefined }) as const;

const candidate = (name: string, more: Partial<Candidate> = {}): Candidate => ({
  account: accountOf(name),
  restores: 0,
  atOnce: 2,
  boots: 0,
  freeBytes: 100,
  fits: true,
  ...more,
});

const chosen = (...candidates: readonly Candidate[]) => chooseAccount(candidates)?.account.name;

test('of the accounts with room the one with the fewest jobs is chosen, of these the roomiest', () => {
  assert.equal(chosen(), undefined);
  assert.equal(chosen(candidate('a', { restores: 1, freeBytes: 900 }), candidate('b')), 'b');
  assert.equal(chosen(candidate('a', { boots: 1 }), candidate('b', { freeBytes: 1 })), 'b');
  assert.equal(chosen(candidate('a'), candidate('b', { freeBytes: 101 })), 'b');
  assert.equal(chosen(candidate('a', { restores: 9 }), candidate('b', { fits: false })), 'a');
  assert.equal(
    chosen(
      candidate('a', { fits: false }),
      candidate('b', { fits: false, restores: 3, freeBytes: 200 }),
      candidate('c', { fits: false, freeBytes: undefined }),
    ),
    'b',
    'where none has room: the most',
  );
});

test('a warning says whether a restore waits, behind how many, and which account is idle', () => {
  assert.equal(warnOfLoad(candidate('a', { boots: 3 }), candidate('b')), undefined);
  assert.equal(
    warnOfLoad(candidate('a', { restores: 1 }), undefined),
    "The storage account 'a' is loaded: 1 restore is under way there already.",
  );
  assert.equal(
    warnOfLoad(candidate('a', { restores: 3 }), candidate('b')),
    "The storage account 'a' is loaded: a restore there waits behind 3 restores, of which 2 may run at once; 'b' is idle and has room.",
  );
});

test('eight disks in an account are a crowd where another has at most a quarter of them', () => {
  const crowdedOf = (...disks: readonly number[]) =>
    crowdedAccounts(disks.map((count, at) => ({ account: accountOf(`${at}`), disks: count }))).map(
      ({ crowded, emptier }) => `${crowded.account.name}>${emptier.account.name}`,
    );
  assert.deepEqual(crowdedOf(), []);
  assert.deepEqual(crowdedOf(50), []);
  assert.deepEqual(crowdedOf(7, 0), []);
  assert.deepEqual(crowdedOf(8, 0), ['0>1']);
  assert.deepEqual(crowdedOf(8, 3), []);
  assert.deepEqual(crowdedOf(8, 2, 12), ['0>1', '2>1']);
});
