/**
 * An image that is off and is shrunk and grown back to its size: QEMU's bitmap forgets the part that was cut
 * off and calls it unchanged, and nothing else shows that what it held is gone. The audit does.
 */
import { execFile } from 'node:child_process';
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { succeed, temporaryFolder, withoutPasswords } from '../cli/holdfast.ts';
import type { Taken } from './vm-site.ts';

withoutPasswords();

const tool = promisify(execFile);

type Shrunk = {
  readonly image: string;
  readonly qemuIo: (command: string) => Promise<void>;
  /** A backup whose point restores as the image is. */
  readonly backUp: () => Promise<Taken['disks'][number]>;
};

/** A VM of one image of 208 MiB, the last 16 KiB of its data at 200 MiB, that has a point. */
async function makeImage(): Promise<Shrunk> {
  const folder = temporaryFolder();
  const [images, repository] = [join(folder, 'images'), join(folder, 'repository')];
  const image = join(images, 'vda.qcow2');
  await mkdir(images);
  const qemuIo = async (command: string): Promise<void> => {
    await tool('qemu-io', ['-f', 'qcow2', '-c', command, image]);
  };
  await tool('qemu-img', ['create', '-q', '-f', 'qcow2', image, '208M']);
  await qemuIo('write -P 9 0 64M');
  await qemuIo('write -P 5 200M 16k');
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const connection = ['--connect', `images:${images}`];
  const backUp = async (): Promise<Taken['disks'][number]> => {
    const to = ['--repo', repository, '--no-encryption', '--json'];
    const { stdout } = await succeed(['vm', 'backup', 'vda', ...connection, ...to]);
    const { pointId, disks } = JSON.parse(stdout) as Taken;
    const restored = join(folder, `${pointId}.qcow2`);
    const disk = ['--disk', `${disks[0]!.name}=${restored}`, '--no-encryption'];
    await succeed(['repo', 'restore', repository, pointId, ...disk]);
    await tool('qemu-img', ['compare', image, restored]);
    return disks[0]!;
  };
  await backUp();
  return { image, qemuIo, backUp };
}

async function resize(image: string, size: string, ...how: readonly string[]): Promise<void> {
  await tool('qemu-img', ['resize', '-q', '-f', 'qcow2', ...how, image, size]);
}

for (const preallocation of ['off', 'metadata', 'falloc', 'full']) {
  test(`M18 an image shrunk and grown back with preallocation ${preallocation} is compared`, async () => {
    const { image, qemuIo, backUp } = await makeImage();
    await resize(image, '200M', '--shrink');
    await resize(image, '208M', `--preallocation=${preallocation}`);
    // What is written since is no proof that the rest was kept.
    await qemuIo('write -P 7 204M 16k');
    const { tracking, reason } = await backUp();
    assert.equal(tracking, 'compare');
    assert.match(reason ?? '', /it misses changes \(at 209715200\)/);

    const distrusted = await backUp();
    assert.equal(distrusted.tracking, 'compare');
    assert.match(distrusted.reason ?? '', /found wrong when point \d+ was taken/);
    assert.equal((await backUp()).tracking, 'bitmap');
  });
}

test('an image that lost nothing by being shrunk and grown back is not compared', async () => {
  const { image, backUp } = await makeImage();
  await resize(image, '201M', '--shrink');
  await resize(image, '208M', '--preallocation=full');
  assert.equal((await backUp()).tracking, 'bitmap');
});
