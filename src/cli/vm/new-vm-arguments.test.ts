import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../usage-error.ts';
import { neededFolder, newVmArguments, parseNetworks } from './new-vm-arguments.ts';

const given = {};

test('a new VM gets an identity of its own and the same networks unless told otherwise', () => {
  assert.deepEqual(newVmArguments(given), { identity: 'new', networks: 'same' });
  assert.deepEqual(newVmArguments({ ...given, sameIdentity: true, network: ['none'] }), {
    identity: 'same',
    networks: 'none',
  });
});

test('networks are given card by card', () => {
  const networks = parseNetworks(['52:54:00:AA:00:01=lan', '52:54:00:aa:00:02=bridge=2']);
  assert.deepEqual(
    networks,
    new Map([
      ['52:54:00:aa:00:01', 'lan'],
      ['52:54:00:aa:00:02', 'bridge=2'],
    ]),
  );
});

test('what is no network says how to write one', () => {
  for (const texts of [['lan'], ['52:54:00:aa:00:01='], ['none', 'same'], ['52:54:00:aa:00:0=x']]) {
    assert.throws(() => parseNetworks(texts), UsageError);
  }
  const twice = ['52:54:00:aa:00:01=a', '52:54:00:AA:00:01=b'];
  assert.throws(() => parseNetworks(twice), /twice/);
});

test('a missing folder is said with what it is for', () => {
  assert.throws(() => neededFolder(given, 'where do the images go?'), /--dir is missing: where do/);
  assert.equal(neededFolder({ ...given, dir: '/d' }, ''), '/d');
});
