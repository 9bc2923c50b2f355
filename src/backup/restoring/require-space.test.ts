import assert from 'node:assert/strict';
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { requireSpace } from './require-space.ts';

test('images that together need more than their file system has free are refused with both figures', async () => {
  const { bavail, bsize } = statfsSync(tmpdir());
  const free = bavail * bsize;
  const image = (name: string, bytes: number) => ({ path: join(tmpdir(), name), bytes });
  await requireSpace([image('a', 4096), image('b', 4096)]);
  const twice = requireSpace([image('a', free * 0.75), image('b', free * 0.75)]);
  await assert.rejects(twice, (error) => {
    assert.ok(isHoldfastError(error, 'StoreFull'));
    assert.equal(error.details['neededBytes'], free * 1.5);
    return /has \d+ MiB free, and the disks need \d+ MiB/.test(error.message);
  });
});
