import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isHoldfastError, type ErrorCode } from '#base';
import { MemoryDisk } from '#storage';

import { readRepositoryFile, REPOSITORY_FILE, writeRepositoryFile } from './repository-file.ts';

const identity = { repositoryId: Buffer.alloc(16, 0xab), blockSize: 65_536 };

const code =
  (wanted: ErrorCode) =>
  (error: unknown): boolean =>
    isHoldfastError(error, wanted);

test('what is written reads back, in the bytes of the format', async () => {
  const disk = new MemoryDisk();
  await writeRepositoryFile(disk.store(), identity);
  assert.equal(
    disk.objects.get(REPOSITORY_FILE)?.toString(),
    `{"format":1,"id":"${'ab'.repeat(16)}","blockSize":65536}`,
  );
  assert.deepEqual(await readRepositoryFile(disk.store()), identity);
});

test('a second repository in the same place is refused and changes nothing', async () => {
  const disk = new MemoryDisk();
  await writeRepositoryFile(disk.store(), identity);
  const other = { ...identity, repositoryId: Buffer.alloc(16, 1) };
  await assert.rejects(writeRepositoryFile(disk.store(), other), code('RepositoryExists'));
  assert.deepEqual(await readRepositoryFile(disk.store()), identity);
});

test('an empty place is no repository', async () => {
  await assert.rejects(readRepositoryFile(new MemoryDisk().store()), code('RepositoryNotFound'));
});

const FILES: readonly (readonly [string, ErrorCode])[] = [
  ['{"format":2,"anything":true}', 'FormatUnsupported'],
  ['{"format":0,"id":"abababababababababababababababab","blockSize":16384}', 'ObjectDamaged'],
  ['{"format":1,"id":"abababababababababababababababab","blockSize":16385}', 'ObjectDamaged'],
  ['{"format":1,"id":"abababababababababababababababab","blockSize":2048}', 'ObjectDamaged'],
  ['{"format":1,"id":"abababababababababababababababab","blockSize":8388608}', 'ObjectDamaged'],
  ['{"format":1,"id":"ababababababababababababababab","blockSize":16384}', 'ObjectDamaged'],
  ['{"format":"1"}', 'ObjectDamaged'],
  ['[]', 'ObjectDamaged'],
  ['{', 'ObjectDamaged'],
];

for (const [text, wanted] of FILES) {
  test(`${text} is ${wanted}`, async () => {
    const store = new MemoryDisk().store();
    await store.createIfAbsent(REPOSITORY_FILE, Buffer.from(text));
    await assert.rejects(readRepositoryFile(store), code(wanted));
  });
}
