/** What happens to the files: flipped bytes, cut files, lost files, a writer killed at any moment. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { BlockIndex } from './block-index.ts';
import { assertAnswers, idOf, IndexModel, withFolder } from './index-model.ts';

const options = { isPackGone: () => false, memtableRecords: 64 };
const at = (number: number) => ({ number, hash: '', cursor: 0 });

async function small(dir: string): Promise<IndexModel> {
  const index = await BlockIndex.create(dir, options);
  const model = new IndexModel();
  for (let i = 0; i < 9; i++) {
    for (const table of [index, model]) {
      table.addCopy(idOf(i), { pack: i, frame: 1, slot: 2, share: 3 });
      table.addCount(idOf(i), i);
    }
    if (i === 5) await index.flush(at(1), {});
  }
  await index.flush(at(2), { some: 'state' });
  await index.close();
  return model;
}

/** True if all is well, false if the damage was met and named; anything else throws. Changes nothing. */
async function isWholeOrNamed(dir: string, model: IndexModel): Promise<boolean> {
  const path = join(dir, 'manifest');
  const manifest = existsSync(path) ? await readFile(path) : undefined;
  const isWhole = await opensWhole(dir, model);
  // An index that turned out damaged loses it.
  if (manifest !== undefined) await writeFile(path, manifest);
  return isWhole;
}

async function opensWhole(dir: string, model: IndexModel): Promise<boolean> {
  let index: BlockIndex | undefined;
  try {
    index = await BlockIndex.open(dir, options);
    assertAnswers(index, model);
    assert.deepEqual([index.position, index.callerState], [at(2), { some: 'state' }]);
    return true;
  } catch (error) {
    if (!isHoldfastError(error, 'IndexDamaged')) throw error;
    return false;
  } finally {
    await index?.close();
  }
}

test('every flipped byte of every file is detected', async () => {
  await withFolder(async (dir) => {
    const model = await small(dir);
    assert(await isWholeOrNamed(dir, model));
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      const bytes = await readFile(path);
      // Of the zeros at the end of a page every 29th: the checksum treats them all alike.
      for (let i = 0; i < bytes.length; i += bytes[i] === 0 && i > 400 && i < 4096 ? 29 : 1) {
        bytes[i]! ^= 1 << (i % 8);
        await writeFile(path, bytes);
        assert.equal(await isWholeOrNamed(dir, model), false, `${name} at ${i}`);
        bytes[i]! ^= 1 << (i % 8);
      }
      await writeFile(path, bytes);
    }
    assert(await isWholeOrNamed(dir, model));
  });
});

test('an index that turned out damaged is given up when it is closed', async () => {
  await withFolder(async (dir) => {
    const model = await small(dir);
    const run = (await readdir(dir)).find((name) => name.endsWith('.run'))!;
    const bytes = await readFile(join(dir, run));
    bytes[40]! ^= 1;
    await writeFile(join(dir, run), bytes);
    assert.equal(await opensWhole(dir, model), false);
    await assert.rejects(BlockIndex.open(dir, options), (error) => {
      assert.ok(isHoldfastError(error, 'IndexDamaged'));
      assert.equal(error.details['reason'], 'absent');
      return true;
    });
  });
});

test('a cut, lost or swapped file is detected', async () => {
  await withFolder(async (dir) => {
    const model = await small(dir);
    const names = await readdir(dir);
    for (const name of names) {
      const path = join(dir, name);
      const bytes = await readFile(path);
      for (const length of [0, 1, 20, 4095, 4096, bytes.length - 1].filter(
        (n) => n < bytes.length,
      )) {
        await truncate(path, length);
        assert.equal(await isWholeOrNamed(dir, model), false, `${name} cut to ${length}`);
        await writeFile(path, bytes);
      }
      await rm(path);
      assert.equal(await isWholeOrNamed(dir, model), false, `${name} lost`);
      // Without a manifest the others are not looked at, and not deleted.
      assert.equal((await readdir(dir)).length, names.length - 1);
      await writeFile(path, bytes);
    }
    const [first, second] = names.filter((name) => name.endsWith('.run'));
    await rename(join(dir, first!), join(dir, 'aside'));
    await rename(join(dir, second!), join(dir, first!));
    await rename(join(dir, 'aside'), join(dir, second!));
    assert.equal(await isWholeOrNamed(dir, model), false);
  });
});

test('what no manifest names is removed: a run that was not committed, a manifest half written', async () => {
  await withFolder(async (dir) => {
    const model = await small(dir);
    const names = await readdir(dir);
    const run = names.find((name) => name.endsWith('.run'));
    await writeFile(join(dir, '3.run'), await readFile(join(dir, run!)));
    await writeFile(join(dir, 'manifest.new'), 'half');
    assert(await isWholeOrNamed(dir, model));
    assert.deepEqual(await readdir(dir), names);
  });
});

test('a writer that is killed leaves exactly what its last position says', async () => {
  await withFolder(async (dir) => {
    for (const killAfter of [3, 9, 17]) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'killed-writer.ts'), dir], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let lines = 0;
      child.stdout.on('data', (data: Buffer) => {
        lines += data.toString().split('\n').length - 1;
        if (lines >= killAfter) child.kill('SIGKILL');
      });
      await once(child, 'exit');
      const index = await BlockIndex.open(dir, options);
      const { number } = index.position;
      assert(number >= killAfter - 1);
      const model = new IndexModel();
      for (let i = 0; i <= number; i++) {
        for (let j = 0; j < 40; j++) {
          model.addCount(idOf((i * 13 + j) % 500), 1);
          model.addCopy(idOf(i * 40 + j), { pack: i, frame: j, slot: 0, share: 1 });
        }
      }
      assertAnswers(index, model);
      await index.settle();
      await index.close();
    }
  });
});
