import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainly } from './plain-reason.ts';

const raw = (code: string, call: string, path: string): string =>
  `${code}: what the system says, ${call} '${path}'`;

test('a file or a folder that is not there is named as such', () => {
  assert.equal(
    plainly(`cannot find "/tmp/none.raw": ${raw('ENOENT', 'stat', '/tmp/none.raw')}`),
    'there is no file "/tmp/none.raw"',
  );
  assert.equal(
    plainly(`cannot find "/no/where.raw": ${raw('ENOENT', 'stat', '/no/where.raw')}`),
    'there is no folder "/no"',
  );
  assert.equal(plainly(raw('ENOENT', 'scandir', '/tmp/none')), 'there is no folder "/tmp/none"');
});

test('what was attempted stays where it names another file', () => {
  assert.equal(
    plainly(`cannot create "/a/x.partial": ${raw('EACCES', 'mkdir', '/a/x.partial')}`),
    'cannot create "/a/x.partial": no permission to write in "/a"',
  );
  assert.equal(
    plainly(`cannot open "/none/x": ${raw('EACCES', 'open', '/none/x')}`),
    'no permission to read "/none/x"',
  );
});

test('folders in the place of files, and the other way round', () => {
  assert.equal(plainly(raw('EISDIR', 'open', '/tmp')), '"/tmp" is a folder');
  assert.equal(plainly(raw('ENOTDIR', 'stat', '/etc/passwd/x')), '"/etc/passwd" is no folder');
});

test('other messages stay as they are', () => {
  for (const message of ['no room', raw('EIO', 'read', '/x'), 'EINVAL: invalid argument, read']) {
    assert.equal(plainly(message), message);
  }
});
