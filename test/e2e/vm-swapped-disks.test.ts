/** Disks of one VM that are alike, and whose images change places: no bitmap of one is taken for the other's. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { json, succeed, temporaryFolder, withoutPasswords } from '../cli/holdfast.ts';
import type { Taken } from './vm-site.ts';

withoutPasswords();

const tool = promisify(execFile);

test('M18 twin images that change places are compared, and both points restore', async () => {
  const folder = temporaryFolder();
  const [images, repository] = [join(folder, 'images'), join(folder, 'repository')];
  const [a, b, spare] = ['a.qcow2', 'b.qcow2', 'spare'].map((name) => join(images, 'vm', name)) as [
    string,
    string,
    string,
  ];
  await mkdir(join(images, 'vm'), { recursive: true });
  for (const [path, pattern] of [
    [a, '1'],
    [b, '2'],
  ] as const) {
    await tool('qemu-img', ['create', '-q', '-f', 'qcow2', path, '64M']);
    await tool('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 0 32M', path]);
    await tool('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} 1M 16`, path]);
  }
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const backUp = async (): Promise<Taken> =>
    await json<Taken>([
      'vm',
      'backup',
      'vm',
      '--connect',
      `images:${images}`,
      '--repo',
      repository,
      '--no-encryption',
    ]);
  await backUp();
  const increment = await backUp();
  assert.deepEqual(
    increment.disks.map(({ tracking }) => tracking),
    ['bitmap', 'bitmap'],
  );
  await rename(a, spare);
  await rename(b, a);
  await rename(spare, b);
  const swapped = await backUp();
  for (const disk of swapped.disks) {
    assert.equal(disk.tracking, 'compare');
    assert.match(disk.reason ?? '', /changed places/);
    const restored = join(folder, `${disk.name}.qcow2`);
    const to = ['--disk', `${disk.name}=${restored}`, '--no-encryption'];
    await succeed(['repo', 'restore', repository, swapped.pointId, ...to]);
    await tool('qemu-img', ['compare', join(images, 'vm', `${disk.name}.qcow2`), restored]);
  }
});
