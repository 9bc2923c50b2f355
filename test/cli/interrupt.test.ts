/** Ctrl-C, a second command on the repository, and processes that die. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  HOLDFAST,
  PASSWORD,
  ended,
  fail,
  json,
  run,
  start,
  succeed,
  temporaryFolder,
  TerminalSession,
  writeDisk,
} from './holdfast.ts';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const repo = at('repo');
const SLOW = `nbd+unix:///?socket=${at('slow.sock')}`;
const slowBackup = ['repo', 'backup', repo, '--item', 'slow', '--disk', `vda=${SLOW}`];

/** A disk of 1 GiB that takes half a minute to read. */
const server = spawn('nbdkit', [
  '-f',
  '-U',
  at('slow.sock'),
  '--filter=rate',
  'pattern',
  'size=1G',
  'rate=256M',
]);
after(() => server.kill());

before(async () => {
  await succeed(['repo', 'init', repo]);
  writeDisk(at('disk.raw'));
  for (let tries = 0; !existsSync(at('slow.sock')) && tries < 100; tries += 1) await sleep(50);
});

async function points(): Promise<unknown[]> {
  return (await json<{ points: unknown[] }>(['repo', 'points', repo])).points;
}

describe('Ctrl-C', () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends a backup with exit 1, says what is kept, leaves no point`, async () => {
      const child = start(slowBackup);
      const result = ended(child);
      await sleep(1500);
      child.kill(signal);
      const { code, stderr, stdout } = await result;
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.equal(
        stderr,
        'holdfast: cancelled: what was stored is kept, and the next backup uses it\n',
      );
      assert.deepEqual(await points(), []);
      await succeed(['repo', 'verify', repo, '--read-data']);
    });
  }

  test('on a terminal the progress is shown, and gone before the last line', async () => {
    const session = new TerminalSession(slowBackup, { password: 'correct horse' });
    await session.answer(/\d+%.*MiB\/s.*left/, '\u0003');
    assert.equal(await session.end(), 1);
    const lastLine = session.shown.split('\r\u001b[K').at(-1)!;
    assert.match(lastLine, /^holdfast: cancelled: what was stored is kept[^\n]*\r\n$/);
  });

  test('a hangup ends a backup like Ctrl-C, but not one started with nohup', async () => {
    const cancelled = start(slowBackup);
    const backup = ['repo', 'backup', repo, '--item', 'nohup', '--disk', `vda=${SLOW}`];
    const hung = ended(cancelled);
    await sleep(1000);
    cancelled.kill('SIGHUP');
    assert.equal((await hung).code, 1);

    const env = { ...process.env, HOLDFAST_PASSWORD: PASSWORD };
    const kept = spawn('sh', ['-c', 'trap "" HUP; exec "$@"', 'sh', HOLDFAST, ...backup], { env });
    const result = ended(kept);
    await sleep(1000);
    kept.kill('SIGHUP');
    await sleep(500);
    assert.equal(kept.exitCode, null);
    kept.kill('SIGTERM');
    assert.equal((await result).code, 1);
  });

  test('a killed backup leaves a repository that needs no repair', async () => {
    const child = start(slowBackup);
    const result = ended(child);
    await sleep(1500);
    child.kill('SIGKILL');
    assert.equal((await result).code, null);
    await succeed(['repo', 'verify', repo, '--read-data']);
    await succeed(['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`]);
    assert.equal((await points()).length, 1);
  });
});

describe('a repository that another command holds', () => {
  let lock: DatabaseSync;
  before(() => {
    mkdirSync(join(repo, 'locks'), { recursive: true });
    lock = new DatabaseSync(join(repo, 'locks', 'owner'));
    lock.exec('BEGIN EXCLUSIVE');
    const holder = { pid: 4711, host: 'backup1', command: 'holdfast repo backup', sinceMs: 0 };
    writeFileSync(join(repo, 'locks', 'owner.holder'), JSON.stringify(holder));
  });
  after(() => lock.isOpen && lock.close());

  const backup = ['repo', 'backup', repo, '--item', 'web', '--disk', `vda=${at('disk.raw')}`];

  test('is waited for as long as --wait says, then who holds it is said', async () => {
    const startMs = Date.now();
    const says = /held by process 4711 on backup1 \(holdfast repo backup\) since .*--wait SECONDS/;
    await fail([...backup, '--wait', '1'], { code: 1, says });
    const seconds = (Date.now() - startMs) / 1000;
    assert.ok(seconds > 1 && seconds < 5, `waited ${seconds} s`);
  });

  test('can be read meanwhile', async () => {
    await succeed(['repo', 'points', repo]);
    await succeed(['repo', 'verify', repo]);
  });

  test('the wait is ended by Ctrl-C', async () => {
    const child = start(backup);
    const result = ended(child);
    await sleep(1500);
    child.kill('SIGINT');
    assert.equal((await result).code, 1);
  });

  test('a command that waits goes on when the other ends', async () => {
    const waiting = run([...backup, '--wait', '20']);
    await sleep(1000);
    lock.close();
    assert.equal((await waiting).code, 0);
  });
});
