/** One VM backed up under two items of one repository: each has a bitmap of its own, for as long as it has points. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { succeed, temporaryFolder, withoutPasswords } from '../cli/holdfast.ts';
import type { Taken } from './vm-site.ts';

withoutPasswords();

const tool = promisify(execFile);

test('a VM of two items that take turns: each backup is an increment by bitmap, and restores bit for bit', async () => {
  const folder = temporaryFolder();
  const [images, repository] = [join(folder, 'images'), join(folder, 'repository')];
  const image = join(images, 'web.qcow2');
  await mkdir(images);
  await tool('qemu-img', ['create', '-q', '-f', 'qcow2', image, '64M']);
  await succeed(['repo', 'init', repository, '--no-encryption']);
  let writes = 0;
  const backUp = async (item: string): Promise<string> => {
    writes += 1;
    await tool('qemu-io', ['-f', 'qcow2', '-c', `write -P ${writes} ${writes * 4}M 100k`, image]);
    const vm = ['web', '--connect', `images:${images}`, '--item', item];
    const to = ['--repo', repository, '--no-encryption', '--json'];
    const { stdout } = await succeed(['vm', 'backup', ...vm, ...to]);
    const { pointId, disks } = JSON.parse(stdout) as Taken;
    const restored = join(folder, `${pointId}.qcow2`);
    const disk = ['--disk', `${disks[0]!.name}=${restored}`, '--no-encryption'];
    await succeed(['repo', 'restore', repository, pointId, ...disk]);
    await tool('qemu-img', ['compare', image, restored]);
    return disks[0]!.tracking;
  };
  const bitmapCount = async (): Promise<number> => {
    const { stdout } = await tool('qemu-img', ['info', '--output=json', '-f', 'qcow2', image]);
    const info = JSON.parse(stdout) as {
      readonly 'format-specific': { readonly data: { readonly bitmaps?: readonly unknown[] } };
    };
    return (info['format-specific'].data.bitmaps ?? []).length;
  };

  assert.deepEqual([await backUp('hourly'), await backUp('weekly')], ['initial', 'initial']);
  for (const item of ['hourly', 'hourly', 'weekly', 'hourly', 'weekly']) {
    assert.equal(await backUp(item), 'bitmap', item);
    assert.equal(await bitmapCount(), 2);
  }

  const ofWeekly = ['--item', 'weekly', '--no-encryption', '--json'];
  const { stdout } = await succeed(['repo', 'points', repository, ...ofWeekly]);
  const { points } = JSON.parse(stdout) as { readonly points: readonly { readonly id: string }[] };
  const [newest, ...older] = points.map(({ id }) => id).toReversed();
  await succeed(['repo', 'expire', repository, ...older, '--no-encryption']);
  assert.equal(await backUp('hourly'), 'bitmap');
  assert.equal(await bitmapCount(), 2, 'the newest point of the other item is there');
  await succeed(['repo', 'expire', repository, newest!, '--no-encryption']);
  assert.equal(await backUp('hourly'), 'bitmap');
  assert.equal(await bitmapCount(), 1, 'an item without points has no bitmap');
  assert.equal(await backUp('weekly'), 'initial');
  assert.equal(await backUp('hourly'), 'bitmap');
});
