/** A repository of a user into which root backs up too, as `sudo` makes one do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { HOLDFAST, temporaryFolder } from './holdfast.ts';

/** Nobody's. */
const USER = 47_110;
const skip = process.getuid?.() === 0 ? false : 'only root can be somebody else';

test('after root has backed up into it, a repository is still its owner’s', { skip }, async () => {
  const folder = temporaryFolder();
  chmodSync(folder, 0o711);
  const home = join(folder, 'home');
  mkdirSync(home, { mode: 0o700 });
  const disk = join(home, 'vda.raw');
  writeFileSync(disk, 'one'.repeat(100_000));
  chownSync(home, USER, USER);
  chownSync(disk, USER, USER);
  const repo = join(home, 'repo');
  const backup = ['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${disk}`];
  const as = async (uid: number, args: readonly string[]): Promise<string> => {
    const who = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
    const narrow = ['sh', '-c', 'umask 077; exec "$@"', 'sh', HOLDFAST, ...args];
    const { HOLDFAST_PASSWORD: _, ...env } = process.env;
    const run = promisify(execFile)('setpriv', [...who, ...narrow, '--no-encryption'], { env });
    return (await run).stdout;
  };
  await as(USER, ['repo', 'init', repo]);
  await as(USER, backup);
  writeFileSync(disk, 'two'.repeat(100_000));
  await as(0, backup);
  const objects = ['log', 'packs', 'points'].map((name) => join(repo, name));
  for (const top of objects) {
    for (const name of await readdir(top, { recursive: true })) {
      assert.equal((await lstat(join(top, name))).uid, USER, name);
    }
  }
  writeFileSync(disk, 'three'.repeat(100_000));
  await as(USER, backup);
  const { points } = JSON.parse(await as(USER, ['repo', 'points', repo, '--json'])) as {
    readonly points: readonly unknown[];
  };
  assert.equal(points.length, 3);
  assert.match(await as(USER, ['repo', 'verify', repo, '--read-data']), /^No damage/);
});
