import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError, isHoldfastError } from '#base';
import { fileError, linkError, type FileAction } from './file-errors.ts';

const WRITING: FileAction = { doing: 'writing 7 bytes of log/1', path: '/backup', access: 'write' };

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code, errno: -1 });
}

test('the system’s error numbers become codes that say what to do', () => {
  const table = [
    ['ENOSPC', 'write', 'StoreFull'],
    ['EDQUOT', 'write', 'StoreFull'],
    ['EROFS', 'write', 'StoreReadOnly'],
    ['EACCES', 'write', 'StoreReadOnly'],
    ['EPERM', 'write', 'StoreReadOnly'],
    ['EACCES', 'read', 'StoreFailed'],
    ['EIO', 'read', 'StoreFailed'],
    ['EIO', 'write', 'StoreFailed'],
  ] as const;
  for (const [errno, access, code] of table) {
    const cause = systemError(errno);
    const error = fileError(cause, { ...WRITING, access });
    assert.ok(isHoldfastError(error, code), `${errno}: ${String(error)}`);
    const where = code === 'StoreFull' ? /: \/backup$/ : /writing 7 bytes of log\/1 in \/backup/;
    assert.match(error.message, where);
    assert.deepEqual(error.details, { path: '/backup', errno });
    assert.equal(error.cause, cause);
  }
});

test('bugs and errors of ours pass unchanged', () => {
  for (const error of [new TypeError('bug'), new HoldfastError('ObjectExists', 'there')]) {
    assert.equal(fileError(error, WRITING), error);
  }
});

test('a file system without hard links is unsupported; other failures to link keep their meaning', () => {
  for (const errno of ['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV']) {
    const error = linkError(systemError(errno), WRITING);
    assert.ok(isHoldfastError(error, 'StoreUnsupported'));
    assert.match(error.message, /\/backup has no hard links .* ext4 or xfs/);
  }
  assert.ok(isHoldfastError(linkError(systemError('ENOSPC'), WRITING), 'StoreFull'));
  assert.ok(isHoldfastError(linkError(systemError('EROFS'), WRITING), 'StoreReadOnly'));
});
