import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { findById, findNamed, namedBy } from './names.ts';

const VMS = [
  { group: 'Lab', name: 'web' },
  { group: 'annex', name: 'Web' },
  { group: 'annex', name: 'db' },
];

test('a name is enough where one has it, whatever the case; else the group says which', () => {
  assert.equal(findNamed(VMS, 'DB', 'VM'), VMS[2]);
  assert.equal(findNamed(VMS, 'lab/WEB', 'VM'), VMS[0]);
});

test('errors name the candidates', () => {
  const says =
    (code: 'NameAmbiguous' | 'ResourceNotFound', text: RegExp) =>
    (error: unknown): boolean =>
      isHoldfastError(error, code) && text.test(error.message);
  assert.throws(
    () => findNamed(VMS, 'web', 'VM'),
    says('NameAmbiguous', /write Lab\/web or annex\/Web$/),
  );
  assert.throws(() => findNamed(VMS, 'x', 'VM'), says('ResourceNotFound', /there are Lab\/web, /));
  assert.throws(() => findNamed([], 'x', 'VM'), says('ResourceNotFound', /there is no VM at all$/));
});

test('an id names a group and a resource, whatever follows', () => {
  const vault = '/subscriptions/s/resourcegroups/G/providers/Microsoft.RecoveryServices/vaults/v';
  assert.deepEqual(namedBy(vault), { group: 'G', name: 'v' });
  assert.deepEqual(namedBy(`${vault}/backupJobs/j`), { group: 'G', name: 'v' });
});

test('how an id begins is enough where one begins so, whatever the case; the whole id is always', () => {
  const all = [{ id: '12' }, { id: '123' }, { id: 'ab' }];
  assert.equal(findById(all, 'A', 'job'), all[2]);
  assert.equal(findById(all, '123', 'job'), all[1]);
  assert.equal(findById(all, '12', 'job'), all[0], 'no other begins so, but one that is longer');
  assert.equal(findById(all, 'x', 'job'), undefined);
  assert.equal(findById(all, '', 'job'), undefined);
  assert.throws(
    () => findById(all, '1', 'job'),
    (error: unknown) =>
      isHoldfastError(error, 'NameAmbiguous') && /several jobs .* 1: 12, 123$/.test(error.message),
  );
});
