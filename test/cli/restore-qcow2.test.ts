/** Restores to new qcow2 images, which Holdfast writes itself: whole or no image at all, and used as any other. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTinyFileSystem } from '../repository/tiny-file-system.ts';
import {
  ended,
  fail,
  json,
  MEBIBYTE,
  noise,
  start,
  succeed,
  temporaryFolder,
  withoutPasswords,
} from './holdfast.ts';

withoutPasswords();
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
const SIZE = 200 * MEBIBYTE;

function qemuImg(...args: string[]): string {
  return execFileSync('qemu-img', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function assertHoldsDisk(path: string): void {
  qemuImg('check', '-q', '-f', 'qcow2', path);
  qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', path, at('disk.raw'));
}

function restoreTo(path: string): string[] {
  return ['repo', 'restore', repo, 'latest', '--item', 'web', '--disk', `vda=${path}`];
}

/** Starts a restore and waits until it has written much of its data. */
async function halfway(path: string): Promise<ReturnType<typeof start>> {
  const child = start(restoreTo(path));
  const partial = join(`${path}.partial`, path.slice(path.lastIndexOf('/') + 1));
  for (;;) {
    if (existsSync(partial) && statSync(partial).blocks * 512 > 8 * MEBIBYTE) return child;
    assert.equal(child.exitCode, null, 'the restore ended before it was half done');
    await sleep(2);
  }
}

before(async () => {
  await succeed(['repo', 'init', repo, '--no-encryption']);
  const content = Buffer.alloc(SIZE);
  noise(160 * MEBIBYTE, 3).copy(content, 12_288);
  writeFileSync(at('disk.raw'), content);
  await succeed(['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
});

describe('a restore to a new qcow2 image', () => {
  test('killed, leaves nothing that QEMU opens, and is made again with --overwrite', async () => {
    const path = at('killed.qcow2');
    const child = await halfway(path);
    const result = ended(child);
    child.kill('SIGKILL');
    await result;
    assert.equal(existsSync(path), false);
    const left = join(`${path}.partial`, 'killed.qcow2');
    assert.throws(() => qemuImg('info', '-f', 'qcow2', left), /not in qcow2 format/);
    await fail(restoreTo(path), { code: 1, says: /killed\.qcow2\.partial" is there/ });
    await succeed([...restoreTo(path), '--overwrite']);
    assertHoldsDisk(path);
    assert.equal(existsSync(`${path}.partial`), false);
  });

  test('cancelled, leaves nothing', async () => {
    const child = await halfway(at('half.qcow2'));
    const result = ended(child);
    child.kill('SIGINT');
    assert.equal((await result).code, 130);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('half')),
      [],
    );
  });

  test('onto a disk without room for it, is refused before anything is written', async () => {
    await inTinyFileSystem('64m', async (root) => {
      const says = /^holdfast: .* has 64 MiB free, and the disks need 161 MiB: .*\[StoreFull\]/;
      await fail(restoreTo(join(root, 'out.qcow2')), { code: 1, says });
      assert.deepEqual(readdirSync(root), []);
    });
  });

  test('on a disk without room for its tables, says so and leaves nothing', async () => {
    await inTinyFileSystem('4k', async (root) => {
      const says = /^holdfast: cannot write ".*out\.qcow2".*ENOSPC.*\[DiskWriteFailed\]/;
      await fail(restoreTo(join(root, 'out.qcow2')), { code: 1, says });
      assert.deepEqual(readdirSync(root), []);
    });
  });

  test('gives a VM a disk whose next backups know by its bitmap what changed', async () => {
    mkdirSync(at('images/web'), { recursive: true });
    const path = at('images/web/disk.qcow2');
    await succeed(restoreTo(path));
    type Backup = {
      readonly disks: readonly { read: number; size: number; changed: number; tracking: string }[];
    };
    const connection = ['--connect', `images:${at('images')}`, '--no-encryption'];
    const vm = ['vm', 'backup', 'web', '--repo', repo, '--item', 'vm', ...connection];
    const first = await json<Backup>(vm);
    assert.equal(first.disks[0]!.size, SIZE);
    assert.ok(first.disks[0]!.read <= 161 * MEBIBYTE, `holes were read: ${first.disks[0]!.read}`);
    assert.match(qemuImg('info', path), /bitmaps:/);
    const writes = ['-c', 'write -P 7 1M 64k', '-c', 'write -P 8 190M 64k'];
    execFileSync('qemu-io', ['-f', 'qcow2', ...writes, path]);
    const next = await json<Backup>(vm);
    const { tracking, changed, read } = next.disks[0]!;
    assert.deepEqual([tracking, changed], ['bitmap', 128 * 1024]);
    assert.ok(read < 32 * MEBIBYTE, `${read} bytes read, the audit included`);
    qemuImg('check', '-q', '-f', 'qcow2', path);
    const again = at('again.qcow2');
    await succeed(['repo', 'restore', repo, 'latest', '--item', 'vm', '--disk', `disk=${again}`]);
    qemuImg('compare', '-q', path, again);
  });
});

test('a block device takes a disk as raw only, in place', async (t) => {
  const backing = at('device.raw');
  writeFileSync(backing, noise(SIZE, 9));
  const device = execFileSync('losetup', ['--find', '--show', backing], {
    encoding: 'utf8',
  }).trim();
  t.after(() => execFileSync('losetup', ['--detach', device]));
  const args = [...restoreTo(device), '--overwrite'];
  await fail([...args, '--format', 'vda=qcow2'], {
    code: 1,
    says: /is a device: it takes raw only/,
  });
  await succeed(args);
  qemuImg('compare', '-q', '-f', 'raw', '-F', 'raw', device, at('disk.raw'));
});
