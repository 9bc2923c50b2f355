import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { realClock, type Clock } from '#base';
import { RawDisk } from './raw-disk.ts';

const SIZE = 1024 * 1024;

async function imageOf(t: TestContext, content: Buffer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-raw-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const path = join(folder, 'a.raw');
  await writeFile(path, content);
  return path;
}

/** Each look at it is a second later. */
function slowClock(): Clock {
  let nowMs = 0;
  return { ...realClock(), monotonicMs: () => (nowMs += 1000) };
}

for (const [what, clock] of [
  ['the page cache', realClock()],
  ['a slow disk', slowClock()],
] as const) {
  test(`small reads from ${what} give what is there, and notice that the image became smaller`, async (t) => {
    const content = randomBytes(SIZE);
    const path = await imageOf(t, content);
    const disk = await RawDisk.open({ kind: 'raw', path, sizeBytes: SIZE, fresh: false }, 'r', {
      clock,
    });
    t.after(async () => await disk.close());
    const reads = Array.from({ length: 100 }, async (_, at) => {
      const target = Buffer.alloc(4096 + at);
      await disk.read(at * 9000, target);
      assert.ok(target.equals(content.subarray(at * 9000, at * 9000 + target.length)));
    });
    await Promise.all(reads);
    await truncate(path, SIZE / 2);
    for (let at = 0; at < 3; at += 1) {
      await assert.rejects(disk.read(SIZE / 2 - 4096, Buffer.alloc(8192)), { code: 'DiskChanged' });
    }
  });
}
