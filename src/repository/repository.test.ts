import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock } from '#base';
import { MemoryDisk } from '#storage';
import { expirePoints } from './expiry/expire.ts';
import { forEachBlock } from './map/map-walk.ts';
import { initRepository } from './opening/init.ts';
import { placeInFolder, type OpenOptions } from './opening/open-options.ts';
import { Repository } from './repository.ts';
import { BackupSession } from './writing/backup-session.ts';
import { SessionThread } from './writing/session-thread.ts';

const random = (size: number): Buffer => randomBytes(size);

async function backUp(repository: Repository, content: Buffer): Promise<string> {
  const { parts } = repository;
  const session = await BackupSession.begin(parts, {
    item: 'vm1',
    diskNames: ['vda'],
    threads: 1,
    expectedBytes: content.length,
  });
  const data = session.threadData();
  const thread = new SessionThread({
    data,
    store: parts.store,
    onSealed: (pack) => session.sealed(pack),
    requestView: async () => session.view(),
  });
  const unit = thread.unitWriter();
  const units = new Map<number, Buffer>();
  const leafBytes = 64 * 4096;
  await unit.open(await session.baseUnits('vda', { from: 0, to: 1 }), 64);
  for (let leaf = 0; leaf * leafBytes < content.length; leaf += 1) {
    await unit.writeLeaf(leaf, {
      bytes: content.subarray(leaf * leafBytes, (leaf + 1) * leafBytes),
    });
  }
  units.set(0, await unit.finish());
  await session.adopt(await thread.flush({ sealAll: false }));
  await thread.close();
  const { changedBlocks, newBytes } = unit.statistics;
  await session.commit(
    [
      {
        name: 'vda',
        sizeBytes: content.length,
        units,
        readBytes: content.length,
        changedBytes: changedBlocks * 4096,
        newBytes,
      },
    ],
    { consistency: 'CrashConsistent', seconds: 1 },
  );
  return session.point;
}

async function restore(repository: Repository, point: string): Promise<Buffer> {
  const disk = repository.state.points.get(point)!.disks[0]!;
  const content = Buffer.alloc(disk.sizeBytes);
  const { reader } = repository.parts.keeper;
  const ids: { id: Buffer; at: number }[] = [];
  await forEachBlock(
    {
      pages: reader,
      root: Buffer.from(disk.root, 'hex'),
      fromBlock: 0,
      toBlock: disk.sizeBytes / 4096,
    },
    (leaf) => {
      for (let entry = leaf.fromEntry; entry < leaf.toEntry; entry += 1) {
        const id = Buffer.from(leaf.page.subarray(entry * 16, entry * 16 + 16));
        if (!id.equals(Buffer.alloc(16))) ids.push({ id, at: leaf.firstBlock + entry });
      }
    },
  );
  for (const { id, at } of ids) (await reader.read(id)).copy(content, at * 4096);
  return content;
}

test('a backup is restored bit for bit, after reopening and after losing the index', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  const clock = new FakeClock();
  const disk = new MemoryDisk();
  try {
    const store = disk.store();
    await initRepository({
      store,
      blockSize: 4096,
      access: { kdf: 'none' },
      label: 'test',
      clock,
      random,
    });
    const options: OpenOptions = {
      store,
      place: placeInFolder(folder),
      access: 'own',
      clock,
      random,
      version: 'test',
      process: { host: 'here', pid: process.pid, command: 'test' },
      waitMs: 0,
      warn: () => undefined,
    };
    const content = randomBytes(300 * 4096);
    let repository = await Repository.open(options);
    const first = await backUp(repository, content);
    assert.deepEqual(await restore(repository, first), content);
    const changed = Buffer.from(content);
    changed[5000] = 1 ^ changed[5000]!;
    const second = await backUp(repository, changed);
    assert.deepEqual(await restore(repository, second), changed);
    await repository.close();
    repository = await Repository.open(options);
    assert.equal(repository.rebuilt, undefined);
    assert.deepEqual(await restore(repository, first), content);
    assert.deepEqual(await restore(repository, second), changed);
    await repository.close();
    rmSync(join(folder, 'index'), { recursive: true });
    repository = await Repository.open({ ...options, access: 'read' });
    assert.equal(repository.rebuilt?.kind, 'absent');
    assert.deepEqual(await restore(repository, first), content);
    assert.equal(await repository.pin([first]), true);
    await repository.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('expiry flushes a full index once, however many maps ask for a page at that moment', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  const clock = new FakeClock();
  const store = new MemoryDisk().store();
  try {
    await initRepository({
      store,
      blockSize: 4096,
      access: { kdf: 'none' },
      label: 'test',
      clock,
      random,
    });
    const repository = await Repository.open({
      store,
      place: placeInFolder(folder),
      access: 'own',
      clock,
      random,
      version: 'test',
      process: { host: 'here', pid: process.pid, command: 'test' },
      waitMs: 0,
      warn: () => undefined,
      memtableRecords: 512,
    });
    const contents = [1, 2, 3].map(() => randomBytes(6 * 64 * 4096));
    const points: string[] = [];
    for (const content of contents) points.push(await backUp(repository, content));
    const { deletedBlocks } = await expirePoints(repository.parts, [points[1]!]);
    assert.equal(deletedBlocks, 6 * 64);
    assert.deepEqual(await restore(repository, points[0]!), contents[0]);
    assert.deepEqual(await restore(repository, points[2]!), contents[2]);
    await repository.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
