import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { shellQuoted } from './shell-quoted.ts';

test('plain paths, names and addresses stay as they are', () => {
  for (const plain of [
    '/srv/vms/web-1_2.qcow2',
    'lab/web',
    'vda=/a/b',
    'qemu:///system',
    'a@b%+',
  ]) {
    assert.equal(shellQuoted(plain), plain);
  }
  assert.equal(shellQuoted('/my vms'), `'/my vms'`);
  assert.equal(shellQuoted("it's"), String.raw`'it'\''s'`);
});

test('a shell takes what is quoted for one word, whatever is in it', () => {
  const odd = [
    '',
    ' ',
    "it's",
    '$HOME',
    '`id`',
    '"x"',
    'a\nb',
    'ü',
    '~root',
    '=ls',
    '*',
    '\\',
    '#x',
    'a;b',
  ];
  const line = `printf '%s\\0' ${odd.map(shellQuoted).join(' ')}`;
  for (const shell of ['sh', 'bash']) {
    const words = execFileSync(shell, ['-c', line], { encoding: 'utf8' }).split('\0').slice(0, -1);
    assert.deepEqual(words, odd, shell);
  }
});
