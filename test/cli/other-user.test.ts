/** A repository of a user into which root backs up too, as `sudo` makes one do; the data folder of somebody else. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { HOLDFAST, temporaryFolder } from './holdfast.ts';
import { serviceProcess } from './service-process.ts';

/** Nobody's. */
const USER = 47_110;
const skip = process.getuid?.() === 0 ? false : 'only root can be somebody else';

const PLAIN = '--no-encryption';

async function as(uid: number, args: readonly string[]): Promise<string> {
  const who = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const narrow = ['sh', '-c', 'umask 077; exec "$@"', 'sh', HOLDFAST, ...args];
  const { HOLDFAST_PASSWORD: _, ...env } = process.env;
  return (await promisify(execFile)('setpriv', [...who, ...narrow], { env })).stdout;
}

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
  await as(USER, ['repo', 'init', repo, PLAIN]);
  await as(USER, [...backup, PLAIN]);
  writeFileSync(disk, 'two'.repeat(100_000));
  await as(0, [...backup, PLAIN]);
  const objects = ['log', 'packs', 'points'].map((name) => join(repo, name));
  for (const top of objects) {
    for (const name of await readdir(top, { recursive: true })) {
      assert.equal((await lstat(join(top, name))).uid, USER, name);
    }
  }
  writeFileSync(disk, 'three'.repeat(100_000));
  await as(USER, [...backup, PLAIN]);
  const { points } = JSON.parse(await as(USER, ['repo', 'points', repo, '--json', PLAIN])) as {
    readonly points: readonly unknown[];
  };
  assert.equal(points.length, 3);
  assert.match(await as(USER, ['repo', 'verify', repo, '--read-data', PLAIN]), /^No damage/);
});

test(
  'another user’s commands say whose a data folder is, and as whom to run',
  { skip },
  async () => {
    const { data, folder } = await serviceProcess();
    chmodSync(folder, 0o711);
    const refused = async (args: readonly string[], says: RegExp): Promise<void> => {
      await assert.rejects(as(USER, [...args, '--data', data]), ({ code, stderr }: Refused) => {
        assert.match(stderr, /^holdfast: [^\n]* \[\w+\]\n$/);
        assert.match(stderr, says);
        return code === 1;
      });
    };
    const unread =
      /admin\.json cannot be read by this user; it belongs to root: run as root(?:;| \[)/;
    await refused(['vm', 'list'], unread);
    await refused(['env'], unread);
    await refused(
      ['serve', '--listen', '127.0.0.1:0'],
      /cannot write into the data folder .*: it belongs to root: run as root \[StoreReadOnly\]/,
    );
    chownSync(data, USER + 1, USER + 1);
    await refused(
      ['vm', 'list'],
      /it belongs to the user 47111: run as that user, or as root(?:;| \[)/,
    );
  },
);

type Refused = { readonly code: number; readonly stderr: string };
