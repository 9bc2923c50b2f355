/**
 * Disks that QEMU shows by `snapshot-access` while they are written: what is read is the disk of the instant,
 * also where QEMU before 8.2 says otherwise.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { realClock } from '#base';
import { openSource } from './open-disk.ts';
import { prepareSource } from './prepare-source.ts';

const SIZE = 8 << 20;
const clock = realClock();

/** A disk full of 0xaa under a filter, whose snapshot is exported; and where to write to it since. */
async function snapshot(t: TestContext, format: 'raw' | 'qcow2') {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-access-'));
  const [disk, scratch, socket] = [join(folder, 'd'), join(folder, 's'), join(folder, 'nbd')];
  execFileSync('qemu-img', ['create', '-q', '-f', format, disk, String(SIZE)]);
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', scratch, String(SIZE)]);
  execFileSync('qemu-io', ['-f', format, '-c', `write -q -P 170 0 ${SIZE}`, disk]);
  const file = (filename: string) => ({ driver: 'file', filename, discard: 'unmap' });
  const nodes = [
    { driver: format, 'node-name': 'disk', discard: 'unmap', file: file(disk) },
    { driver: 'qcow2', 'node-name': 'scratch', file: file(scratch) },
    { driver: 'copy-before-write', 'node-name': 'filter', file: 'disk', target: 'scratch' },
    { driver: 'snapshot-access', 'node-name': 'access', file: 'filter' },
  ];
  const exported = (node: string, more = '') =>
    `type=nbd,id=${node},node-name=${node},name=${node}${more}`;
  const daemon = spawn('qemu-storage-daemon', [
    ...nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
    '--nbd-server',
    `addr.type=unix,addr.path=${socket},max-connections=0`,
    '--export',
    exported('filter', ',writable=on'),
    '--export',
    exported('access'),
    '--export',
    exported('scratch'),
    '--pidfile',
    join(folder, 'pid'),
  ]);
  t.after(async () => {
    daemon.kill();
    await rm(folder, { recursive: true });
  });
  while (!existsSync(join(folder, 'pid'))) await sleep(10);
  const uri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`;
  const write = (...commands: readonly string[]): void => {
    const args = commands.flatMap((command) => ['-c', command]);
    execFileSync('qemu-io', ['-f', 'raw', '-d', 'unmap', ...args, uri('filter')]);
  };
  const prepared = await prepareSource({ location: uri('access'), saved: uri('scratch'), clock });
  return { prepared, write };
}

const SINCE: Readonly<Record<string, readonly string[]>> = {
  'zeros over whole clusters': ['write -q -z 0 64k', 'write -q -z 1M 1M'],
  'zeros that free their place': ['write -q -z -u 200k 3M'],
  'zeros over parts of clusters': ['write -q -z 4k 100k', 'write -q -z 2560 1M'],
  'data and zeros': ['write -q -P 3 1000k 64k', 'write -q -z 5M 64k', 'write -q -P 1 2560 100k'],
  'discarded places': ['discard -q 64k 1M'],
};

for (const format of ['raw', 'qcow2'] as const) {
  for (const [what, commands] of Object.entries(SINCE)) {
    test(`${what}, written to a ${format} disk after the instant, do not show in the snapshot`, async (t) => {
      const { prepared, write } = await snapshot(t, format);
      write(...commands);
      assert.deepEqual(await prepared.dataExtents(), [{ offset: 0, length: SIZE }]);
      const source = await openSource(prepared.spec, { clock });
      for (const length of [SIZE, 1 << 20, 100 * 1024, 64 * 1024, 16 * 1024]) {
        for (let offset = 0; offset + length <= SIZE; offset += Math.max(length >> 1, 1 << 15)) {
          const bytes = Buffer.alloc(length);
          await source.read(offset, bytes);
          assert.ok(
            bytes.every((byte) => byte === 0xaa),
            `${length} at ${offset}`,
          );
        }
      }
      await source.close();
      await prepared.close();
    });
  }
}
