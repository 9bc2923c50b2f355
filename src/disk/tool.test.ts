import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError, type ErrorCode } from '#base';
import { createTarget } from './create-target.ts';
import { prepareSource } from './prepare-source.ts';
import { clock, run, scratch } from './testing/peers.ts';
import { imageError, runTool } from './tool.ts';

function says(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isHoldfastError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  };
}

test('a file that is no image of its format is said in our words, those of QEMU behind them', async (t) => {
  const location = join(await scratch(t), 'a.qcow2');
  await writeFile(location, 'this is no qcow2');
  await assert.rejects(
    prepareSource({ location, clock }),
    says(
      'DiskFormatUnsupported',
      /^cannot open ".*a\.qcow2" as qcow2: if it has another format, name that; else the image is damaged.* \(.*not in qcow2 format\)$/,
    ),
  );
});

test('an image whose data file is gone is said to need it', async (t) => {
  const folder = await scratch(t);
  const location = join(folder, 'a.qcow2');
  const dataFile = join(folder, 'a.data');
  await run('qemu-img', 'create', '-qf', 'qcow2', '-o', `data_file=${dataFile}`, location, '1M');
  await run('rm', dataFile);
  await assert.rejects(
    prepareSource({ location, clock }),
    says('DiskNotFound', /^".*a\.qcow2" needs ".*a\.data", which does not exist: put it back$/),
  );
});

test('an image that cannot be made is said with what to look at', async (t) => {
  const path = join(await scratch(t), 'a.vhdx');
  await assert.rejects(
    createTarget({ path, sizeBytes: 2 ** 50, overwrite: false, clock }),
    says('DiskWriteFailed', /^cannot create ".*a\.vhdx": check space .* \(qemu-img: .*\)$/),
  );
});

test('each complaint about an image has its code and advice, its lines joined at the end', () => {
  const cases: readonly (readonly [string, ErrorCode, string])[] = [
    [
      "qemu-img: Could not open 'a': Permission denied",
      'DiskUnavailable',
      "no permission: run as a user who may read it (Could not open 'a': Permission denied)",
    ],
    [
      "qemu-img: Could not open 'a': Could not open 'b': No such file or directory",
      'DiskNotFound',
      "a file that it needs is missing: put it back (Could not open 'a': Could not open 'b': No such file or directory)",
    ],
    [
      'qemu-nbd: Failed to blk_new_open\nqemu-nbd: L1 table is bad',
      'DiskUnavailable',
      'look at it with qemu-img check, then run again (Failed to blk_new_open; L1 table is bad)',
    ],
  ];
  for (const [complaint, code, words] of cases) {
    const error = imageError('open', { path: '/vm/a', format: 'qcow2' }, complaint);
    assert.equal(error.code, code);
    assert.equal(error.message, `cannot open "/vm/a" as qcow2: ${words}`);
  }
  const lock = imageError('open', { path: '/vm/a', format: 'raw' }, 'Failed to get "write" lock');
  assert.equal(lock.code, 'DiskInUse');
});

test('a tool that is missing or cannot be started is named', async (t) => {
  const broken = join(await scratch(t), 'tool');
  await writeFile(broken, '');
  await chmod(broken, 0o600);
  await assert.rejects(
    runTool({ command: 'no-such-tool', args: [] }),
    says('ToolMissing', /^no-such-tool is not installed: install it/),
  );
  await assert.rejects(
    runTool({ command: broken, args: [] }),
    says('ToolMissing', /tool cannot be started: check its installation.* \(.*EACCES\)$/),
  );
});
