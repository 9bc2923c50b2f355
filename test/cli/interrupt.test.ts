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
let serverCount = 0;

/**
 * A disk of 1 GiB that takes long to read, on a server of its own: nbdkit may die of a client that is killed.
 *
 * @returns the arguments that back it up.
 */
async function slowBackup(): Promise<string[]> {
  serverCount += 1;
  const socket = at(`slow-${serverCount}.sock`);
  const rate = ['--filter=rate', 'pattern', 'size=1G', 'rate=256M'];
  const server = spawn('nbdkit', ['-f', '-U', socket, ...rate], { stdio: 'ignore' });
  after(() => server.kill());
  await until(() => existsSync(socket));
  const disk = `vda=nbd+unix:///?socket=${socket}`;
  return ['repo', 'backup', repo, '--item', 'slow', '--disk', disk];
}

/** Until a command owns the repository, and a little longer. */
async function untilOwned(): Promise<void> {
  await until(() => existsSync(join(repo, 'locks', 'owner.holder')));
  await sleep(700);
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    assert.ok(tries < 1000, 'waited too long');
    await sleep(20);
  }
}

before(async () => {
  await succeed(['repo', 'init', repo]);
  writeDisk(at('disk.raw'));
});

async function points(): Promise<unknown[]> {
  return (await json<{ points: unknown[] }>(['repo', 'points', repo])).points;
}

describe('Ctrl-C', () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} ends a backup with exit ${exitCode}, says what is kept, leaves no point`, async () => {
      const child = start(await slowBackup());
      const result = ended(child);
      await untilOwned();
      child.kill(signal);
      const { code, stderr, stdout } = await result;
      assert.equal(code, exitCode);
      assert.equal(stdout, '');
      assert.equal(
        stderr,
        'holdfast: cancelled: what was stored is kept, and the next backup uses it [Cancelled]\n',
      );
      assert.deepEqual(await points(), []);
      await succeed(['repo', 'verify', repo, '--read-data']);
    });
  }

  test('on a terminal the progress is shown, and gone before the last line', async () => {
    const session = new TerminalSession(await slowBackup(), { password: 'correct horse' });
    await session.answer(/\d+%.*MiB\/s.*left/, '\u0003');
    assert.equal(await session.end(), 130);
    const lastLine = session.shown.split('\r\u001b[K').at(-1)!;
    assert.match(lastLine, /^holdfast: cancelled: what was stored is kept[^\n]*\r\n$/);
  });

  test('a hangup ends a backup like Ctrl-C, but not one started with nohup', async () => {
    const cancelled = start(await slowBackup());
    const hung = ended(cancelled);
    await untilOwned();
    cancelled.kill('SIGHUP');
    assert.equal((await hung).code, 129);

    const env = { ...process.env, HOLDFAST_PASSWORD: PASSWORD };
    const words = ['sh', HOLDFAST, ...(await slowBackup())];
    const kept = spawn('sh', ['-c', 'trap "" HUP; exec "$@"', ...words], { env });
    const result = ended(kept);
    await untilOwned();
    kept.kill('SIGHUP');
    const first = await Promise.race([result, sleep(500)]);
    assert.equal(first, undefined, 'it goes on');
    kept.kill('SIGTERM');
    assert.equal((await result).code, 143);
  });

  test('a killed backup leaves a repository that needs no repair', async () => {
    const child = start(await slowBackup());
    const result = ended(child);
    await untilOwned();
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
    assert.ok(seconds > 1 && seconds < 9, `waited ${seconds} s`);
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
    assert.equal((await result).code, 130);
  });

  test('a command that waits goes on when the other ends', async () => {
    const waiting = run([...backup, '--wait', '20']);
    await sleep(1000);
    lock.close();
    assert.equal((await waiting).code, 0);
  });
});
