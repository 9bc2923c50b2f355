/** Making repositories, and the ways into them. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fillUpTo, inTinyFileSystem } from '../repository/tiny-file-system.ts';
import { fail, json, PASSWORD, run, succeed, temporaryFolder } from './holdfast.ts';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const passwordFile = (name: string, text: string): string => {
  writeFileSync(at(name), text);
  return at(name);
};

type Keys = {
  readonly keys: readonly { readonly id: string; readonly kind: string; readonly label: string }[];
};

describe('init', () => {
  test('makes a repository, its folder included, and says what it is', async () => {
    const made = await json<Record<string, unknown>>(['repo', 'init', at('first')]);
    assert.match(String(made['repositoryId']), /^[0-9a-f]{32}$/);
    assert.deepEqual(
      [made['location'], made['blockSize'], made['encrypted']],
      [at('first'), 16_384, true],
    );
    assert.ok(existsSync(at('first/repository.json')));
  });

  test('makes no folders above it: a disk that is not mounted stays unwritten', async () => {
    const says = /there is no folder "[^"]*deep\/er": is its disk mounted\? .*mkdir -p/;
    await fail(['repo', 'init', at('deep/er/repo')], { code: 1, says });
    await fail(['repo', 'init', `file://${at('deep/er/repo')}`], { code: 1, says });
    assert.ok(!existsSync(at('deep')));
  });

  test('warns of a short password', async () => {
    const says = /^holdfast: warning: the password has fewer than 12 characters[^\n]*\n$/;
    const { stderr } = await succeed(['repo', 'init', at('short')], { password: '11 c😀😀😀h!' });
    assert.match(stderr, says);
    await json(['repo', 'init', at('long-enough')], { password: '12 charact.!' });
    const add = ['repo', 'key', 'add', at('long-enough'), '--new-password-file'];
    const options = { password: '12 charact.!' };
    const added = await succeed([...add, passwordFile('short-new', '11 charact.\n')], options);
    assert.match(added.stderr, says);
    assert.match(added.stdout, /^Added the key/);
    await fail(
      [...add, passwordFile('empty-new', '\n')],
      { code: 1, says: /holds no password/ },
      options,
    );
  });

  test('takes sizes as people write them', async () => {
    const made = await json<{ blockSize: number }>([
      'repo',
      'init',
      at('blocks'),
      '--block-size',
      '64K',
    ]);
    assert.equal(made.blockSize, 65_536);
  });

  test('takes a folder given as URL', async () => {
    await succeed(['repo', 'init', `file://${at('by-url')}`]);
    await succeed(['repo', 'points', at('by-url')]);
  });

  for (const size of ['5000', '2K', '8MiB', '16KB', 'large']) {
    test(`a block size of ${size} is wrong usage and makes nothing`, async () => {
      await fail(['repo', 'init', at('no'), '--block-size', size], {
        code: 2,
        says: /16KiB|power of two/,
      });
      assert.ok(!existsSync(at('no')));
    });
  }

  test('no password is exit 2 and makes nothing', async () => {
    const says =
      /needs a password, or --no-encryption.*--password-file FILE or set HOLDFAST_PASSWORD/;
    await fail(['repo', 'init', at('no')], { code: 2, says }, { password: null });
    await fail(['repo', 'init', at('no')], { code: 2, says }, { password: '' });
    assert.ok(!existsSync(at('no')));
  });

  test('a folder with anything in it is refused, and left as it was', async () => {
    mkdirSync(at('full'));
    writeFileSync(at('full/notes.txt'), 'mine');
    await fail(['repo', 'init', at('full')], {
      code: 1,
      says: /files already \(notes\.txt\).*empty/,
    });
    assert.deepEqual(readdirSync(at('full')), ['notes.txt']);
  });

  test('a full file system is said, and the folder that was made is gone again', async () => {
    await inTinyFileSystem('64k', async (root) => {
      fillUpTo(root, 0);
      await fail(['repo', 'init', join(root, 'repo'), '--no-encryption'], {
        code: 1,
        says: /no room for a repository in .*make room there or choose another place/,
      });
      assert.ok(!existsSync(join(root, 'repo')));
    });
  });

  describe('after an init that was interrupted', () => {
    const begun = async (name: string, ...options: readonly string[]): Promise<string> => {
      const { repositoryId } = await json<{ readonly repositoryId: string }>([
        'repo',
        'init',
        at(name),
        ...options,
      ]);
      rmSync(at(`${name}/repository.json`));
      rmSync(at(`${name}/reserve`)); // It is made last.
      return repositoryId;
    };

    test('one that left nothing but tries of the store starts again', async () => {
      mkdirSync(at('tried/.unfinished'), { recursive: true });
      mkdirSync(at('tried/keys'));
      const slot = `keys+${'0'.repeat(32)}~${'1'.repeat(16)}`;
      writeFileSync(at(`tried/.unfinished/${slot}`), '{');
      writeFileSync(at(`tried/probe-${'2'.repeat(16)}`), 'holdfast probe: first');
      await succeed(['repo', 'init', at('tried')]);
      await succeed(['repo', 'verify', at('tried')]);
    });

    test('a repository that lacks its last file is completed, with the password of then', async () => {
      const id = await begun('begun');
      await fail(
        ['repo', 'init', at('begun')],
        { code: 1, says: /interrupted "init" has left a repository.*choose an empty/ },
        { password: 'another password' },
      );
      const size = ['--block-size', '64KiB'];
      await fail(['repo', 'init', at('begun'), ...size], { code: 1, says: /blocks have 16384/ });
      assert.ok(!existsSync(at('begun/repository.json')));
      const { stdout, stderr } = await succeed(['repo', 'init', at('begun'), '--json']);
      assert.equal((JSON.parse(stdout) as { repositoryId: string }).repositoryId, id);
      assert.match(stderr, /it was completed/);
      await succeed(['repo', 'verify', at('begun')]);
    });

    test('one without encryption is not completed with a password, nor the other way round', async () => {
      await begun('open', '--no-encryption');
      await fail(['repo', 'init', at('open')], { code: 1, says: /does not open/ });
      await begun('closed');
      const args = ['repo', 'init', at('closed'), '--no-encryption'];
      await fail(args, { code: 1, says: /does not open/ }, { password: null });
    });

    test('what may be more than that is refused and left as it was', async () => {
      await begun('slot');
      rmSync(at('slot/log'), { recursive: true });
      const slots = readdirSync(at('slot/keys'));
      await fail(['repo', 'init', at('slot')], { code: 1, says: /key slot without a repository/ });
      assert.deepEqual(readdirSync(at('slot/keys')), slots);
      await begun('used');
      writeFileSync(at(`used/log/${'1'.padStart(20, '0')}`), 'somebody has worked with it');
      await fail(['repo', 'init', at('used')], { code: 1, says: /files already/ });
    });
  });

  test('a repository is not made twice', async () => {
    await succeed(['repo', 'init', at('twice')]);
    await fail(['repo', 'init', at('twice')], { code: 1, says: /there is a repository/ });
  });

  test('a file, a bucket and an unknown scheme are refused in one line', async () => {
    writeFileSync(at('file'), '');
    await fail(['repo', 'init', at('file')], { code: 1, says: /not a folder/ });
    await fail(['repo', 'init', 's3://bucket/prefix'], {
      code: 1,
      says: /s3:\/\/ comes later; use a folder/,
    });
    await fail(['repo', 'init', 'azblob://c/p'], { code: 1, says: /comes later/ });
    await fail(['repo', 'init', 'ftp://host/x'], { code: 1, says: /unknown/ });
  });

  test('--no-encryption and a password file contradict each other', async () => {
    const file = passwordFile('contradiction', PASSWORD);
    const args = ['repo', 'init', at('no'), '--no-encryption', '--password-file', file];
    await fail(args, { code: 2, says: /contradict/ });
  });
});

describe('passwords', () => {
  before(async () => {
    await succeed(['repo', 'init', at('repo')]);
    await succeed(['repo', 'init', at('open'), '--no-encryption'], { password: null });
  });

  test('come from a file, whose line end is no part of them', async () => {
    const file = passwordFile('good', `${PASSWORD}\n`);
    await succeed(['repo', 'points', at('repo'), '--password-file', file], { password: null });
  });

  test('a file counts more than the environment', async () => {
    const file = passwordFile('good', PASSWORD);
    await succeed(['repo', 'points', at('repo'), '--password-file', file], { password: 'wrong' });
  });

  test('a wrong one is exit 1 and is not shown', async () => {
    const { code, stderr } = await run(['repo', 'points', at('repo')], { password: 'tomato' });
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: wrong password: [^\n]*\n$/);
    assert.doesNotMatch(stderr, /tomato/);
  });

  test('none is exit 2', () =>
    fail(
      ['repo', 'points', at('repo')],
      { code: 2, says: /needs a password/ },
      { password: null },
    ));

  test('a password file that is not there, a folder or empty is named', async () => {
    const use = (file: string): string[] => ['repo', 'points', at('repo'), '--password-file', file];
    await fail(use(at('none')), { code: 1, says: /none": there is no such file/ });
    await fail(use(folder), { code: 1, says: /it is a folder/ });
    await fail(use(passwordFile('empty', '\n')), { code: 1, says: /holds no password/ });
  });

  test('a repository without encryption needs none, and says so to whoever gives one', async () => {
    await succeed(['repo', 'points', at('open')], { password: null });
    await succeed(['repo', 'points', at('open'), '--no-encryption']);
    await fail(['repo', 'points', at('open')], { code: 1, says: /not encrypted/ });
  });
});

describe('key', () => {
  const repo = at('keys');
  before(() => succeed(['repo', 'init', repo]));

  test('a second password opens, is listed with its label, and is removed', async () => {
    const file = passwordFile('second', 'another one more\n');
    const added = await json<{ id: string }>([
      'repo',
      'key',
      'add',
      repo,
      '--new-password-file',
      file,
      '--label',
      'the night shift',
    ]);
    await succeed(['repo', 'points', repo], { password: 'another one more' });
    const { keys } = await json<Keys>(['repo', 'key', 'list', repo]);
    assert.deepEqual(keys.map(({ label }) => label).toSorted(), [
      'first password',
      'the night shift',
    ]);
    await succeed(['repo', 'key', 'remove', repo, added.id.slice(0, 10)]);
    await fail(
      ['repo', 'points', repo],
      { code: 1, says: /wrong password/ },
      { password: 'another one more' },
    );
  });

  test('a recovery key is shown once and opens in place of the password', async () => {
    const { recoveryKey, id } = await json<{ recoveryKey: string; id: string }>([
      'repo',
      'key',
      'recovery',
      repo,
    ]);
    assert.match(recoveryKey, /^HFRK(-[0-9A-Z]{4}){14}$/);
    await succeed(['repo', 'points', repo], { password: recoveryKey });
    await succeed(['repo', 'points', repo], {
      password: recoveryKey.toLowerCase().replaceAll('-', ' '),
    });
    const listed = await succeed(['repo', 'key', 'list', repo]);
    assert.ok(listed.stdout.includes(id) && !listed.stdout.includes(recoveryKey));
    const mistyped = recoveryKey.slice(0, -1) + (recoveryKey.endsWith('0') ? '1' : '0');
    await fail(['repo', 'points', repo], { code: 1, says: /checksum/ }, { password: mistyped });
  });

  test('the last way in stays', async () => {
    await succeed(['repo', 'init', at('last')]);
    const { keys } = await json<Keys>(['repo', 'key', 'list', at('last')]);
    await fail(['repo', 'key', 'remove', at('last'), keys[0]!.id], {
      code: 1,
      says: /add another first/,
    });
    await succeed(['repo', 'points', at('last')]);
  });

  test('a key that is not there, or meant by nothing, is not removed', async () => {
    await fail(['repo', 'key', 'remove', repo, 'ffffffffffff'], {
      code: 1,
      says: /no key slot begins with/,
    });
    await fail(['repo', 'key', 'remove', repo, ''], { code: 1, says: /key slots? begin/ });
  });

  test('a new password is needed, and not that of a wrong file', async () => {
    await fail(['repo', 'key', 'add', repo], { code: 2, says: /--new-password-file/ });
    await fail(['repo', 'key', 'add', repo, '--new-password-file', at('none')], {
      code: 1,
      says: /no such file/,
    });
  });
});

test('a folder that cannot be written is refused', async () => {
  mkdirSync(at('read-only'));
  chmodSync(at('read-only'), 0o500);
  const expected = { code: 1, says: /no permission to write.*run as the owner/ } as const;
  await fail(['repo', 'init', at('read-only/repo')], expected, { isBoundByPermissions: true });
});
