/** What the program says of itself, and to whoever uses it wrongly. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fail, HOLDFAST, run, succeed, temporaryFolder } from './holdfast.ts';

const folder = temporaryFolder();

test('--version prints the version of package.json', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  assert.equal((await succeed(['--version'])).stdout, `${version}\n`);
});

test('--help explains the program and each command, on standard output', async () => {
  assert.match((await succeed(['--help'])).stdout, /repo[\s\S]*tour/);
  assert.match((await succeed(['repo', 'backup', '--help'])).stdout, /--changed-only-hint/);
  assert.doesNotMatch((await succeed(['repo', 'backup', '--help'])).stdout, /default: \[\]/);
  assert.match(
    (await succeed(['repo', 'expire', '--help'])).stdout,
    /add up[\s\S]*each item[\s\S]*UTC/,
  );
  assert.match((await succeed(['repo', 'key', '--help'])).stdout, /recovery/);
});

test('a group of commands without one shows its help on standard error, exit 2', async () => {
  for (const args of [[], ['repo'], ['repo', 'key']]) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /Usage: holdfast/);
  }
});

const MISTAKES: readonly (readonly [string[], RegExp])[] = [
  [['bakup'], /unknown command 'bakup' .*; holdfast --help explains it \[/],
  [['repo', 'bakup'], /unknown command 'bakup' \(Did you mean backup\?\)/],
  [
    ['repo', 'points'],
    /missing required argument 'repo'; holdfast repo points --help explains it \[/,
  ],
  [['repo', 'points', 'r', 'more'], /too many arguments/],
  [['repo', 'points', 'r', '--colour'], /unknown option '--colour'/],
  [['repo', 'backup', 'r', '--disk', 'vda=x'], /required option '--item <name>'/],
  [['repo', 'backup', 'r', '--item'], /argument missing/],
  [
    ['repo', 'points', 'r', '--wait', 'long'],
    /"long" is not a number of seconds; holdfast repo points --help explains it \[/,
  ],
  [['vm', 'boot', 'web'], /--as NEW-NAME is missing; holdfast vm boot --help explains it \[/],
  [['policy', 'set', 'p', '--at', '1:00', '--daily'], /holdfast policy set --help explains it \[/],
];

for (const [args, says] of MISTAKES) {
  test(`holdfast ${args.join(' ')}: one line, exit 2`, () => fail(args, { code: 2, says }));
}

test('a path in a command that is advised is quoted for the shell', async () => {
  const path = join(folder, "it's not there");
  const advised = `holdfast repo init '${path.replace("'", String.raw`'\''`)}'`;
  const { stderr } = await run(['repo', 'points', path]);
  assert.ok(stderr.includes(advised), stderr);
});

test('with --json a failure is a document too', async () => {
  const told = async (args: string[]): Promise<unknown> => {
    const { stdout, stderr } = await run([...args, '--json']);
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    assert.equal(stderr, `holdfast: ${error.message} [${error.code}]\n`);
    return error.code;
  };
  assert.equal(await told(['repo', 'points', join(folder, 'none')]), 'RepositoryNotFound');
  assert.equal(await told(['repo', 'points']), 'Usage');
  assert.equal(await told(['repo', 'points', 'r', '--wait', 'long']), 'Usage');
});

test('the launcher works through a symbolic link and from any folder', () => {
  const link = join(folder, 'holdfast');
  symlinkSync(HOLDFAST, link);
  const { status } = spawnSync(link, ['--version'], { cwd: folder });
  assert.equal(status, 0);
});

test('output that nobody reads any more is no failure', () => {
  const { status, stderr } = spawnSync('sh', [
    '-c',
    `${HOLDFAST} repo backup --help | true; exit 0`,
  ]);
  assert.equal(status, 0);
  assert.equal(String(stderr), '');
});
