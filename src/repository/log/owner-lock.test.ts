import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';

import { FakeClock, isHoldfastError } from '#base';

import { isHeld, lockWithin, readHolder, tryLock, type LockHolder } from './owner-lock.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-lock-'));
after(() => rmSync(folder, { recursive: true }));

const holder: LockHolder = { pid: 4711, host: 'here', command: 'repo backup', sinceMs: 0 };
const moduleUrl = new URL('owner-lock.ts', import.meta.url).href;

let fileCount = 0;
const newFile = (): string => {
  fileCount += 1;
  return path.join(folder, `locks-${fileCount}`, 'owner');
};

const holdCode = (file: string): string => `
  import { tryLock } from ${JSON.stringify(moduleUrl)};
  const holder = { pid: process.pid, host: 'there', command: 'repo compact', sinceMs: 1000 };
  console.log(tryLock(${JSON.stringify(file)}, holder) === undefined ? 'refused' : 'held');
  setInterval(() => {}, 1000);`;

const startChild = async (file: string): Promise<{ child: ChildProcess; said: string }> => {
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e'];
  const child = spawn(process.execPath, [...args, holdCode(file)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, said: said.toString().trim() };
};

const kill = async (child: ChildProcess): Promise<void> => {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
};

test('a lock is held by one, also within a process, and free after release', () => {
  const file = newFile();
  assert.equal(isHeld(file), false);
  assert.equal(existsSync(file), false, 'looking makes nothing');
  const lock = tryLock(file, holder);
  assert.ok(lock);
  assert.equal(isHeld(file), true);
  assert.equal(tryLock(file, holder), undefined);
  assert.equal(isHeld(file), true, 'a refused attempt does not end it');
  lock.release();
  lock.release();
  assert.equal(isHeld(file), false);
  const again = tryLock(file, holder);
  assert.ok(again);
  lock.release();
  assert.equal(isHeld(file), true, 'releasing twice does not end the next one');
  again.release({ remove: true });
  assert.equal(existsSync(file), false);
});

test('a lock whose object is forgotten is still held', () => {
  const file = newFile();
  assert.ok(tryLock(file, holder));
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  assert.equal(isHeld(file), true);
});

test('another process is refused, and takes over at once when the holder is killed', async () => {
  const file = newFile();
  const first = await startChild(file);
  assert.equal(first.said, 'held');
  assert.equal(isHeld(file), true);
  assert.equal(tryLock(file, holder), undefined);
  const second = await startChild(file);
  assert.equal(second.said, 'refused');
  await kill(second.child);
  assert.equal(isHeld(file), true, 'the end of a refused process does not end it');
  assert.equal(readHolder(file)?.pid, first.child.pid);
  await kill(first.child);
  assert.equal(isHeld(file), false);
  const lock = tryLock(file, holder);
  assert.ok(lock);
  assert.equal(readHolder(file)?.pid, holder.pid);
  const third = await startChild(file);
  assert.equal(third.said, 'refused', 'this process holds it for others too');
  await kill(third.child);
  lock.release();
});

test('a worker thread is refused too', async () => {
  const file = newFile();
  const lock = tryLock(file, holder);
  const source = `
    import { parentPort } from 'node:worker_threads';
    import { tryLock } from ${JSON.stringify(moduleUrl)};
    const holder = { pid: 1, host: '', command: '', sinceMs: 0 };
    parentPort.postMessage(tryLock(${JSON.stringify(file)}, holder) === undefined);`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  const [refused] = (await once(worker, 'message')) as [boolean];
  await worker.terminate();
  assert.equal(refused, true);
  assert.equal(isHeld(file), true);
  lock?.release();
});

test('who waits in vain is told who holds it', async () => {
  const file = newFile();
  const { child } = await startChild(file);
  const clock = new FakeClock();
  const waiting = lockWithin(file, { holder, waitMs: 1000, clock });
  const refused = assert.rejects(waiting, (error) => {
    assert.ok(isHoldfastError(error, 'RepositoryHeld'));
    assert.match(error.message, /on there \(repo compact\) since 1970-01-01T00:00:01/);
    assert.equal(error.details['pid'], child.pid);
    return true;
  });
  for (let i = 0; i < 12; i += 1) {
    clock.advance(100);
    await new Promise(setImmediate);
  }
  await refused;
  await kill(child);
});

test('who waits gets it when the holder releases it', async () => {
  const file = newFile();
  const lock = tryLock(file, holder);
  const clock = new FakeClock();
  const waiting = lockWithin(file, { holder, waitMs: 10_000, clock });
  await new Promise(setImmediate);
  lock?.release();
  clock.advance(100);
  const taken = await waiting;
  assert.equal(isHeld(file), true);
  taken.release();
});

test('waiting ends when it is cancelled', async () => {
  const file = newFile();
  const lock = tryLock(file, holder);
  const cancel = new AbortController();
  const clock = new FakeClock();
  const waiting = lockWithin(file, { holder, waitMs: 10_000, clock, signal: cancel.signal });
  cancel.abort();
  await assert.rejects(waiting, (error) => isHoldfastError(error, 'Cancelled'));
  lock?.release();
});

test('a holder who left no readable note is another process', async () => {
  const file = newFile();
  const lock = tryLock(file, holder);
  for (const note of ['{', '{"pid":"x"}', 'null']) {
    writeFileSync(`${file}.holder`, note);
    assert.equal(readHolder(file), undefined);
  }
  await assert.rejects(
    lockWithin(file, { holder, waitMs: 0, clock: new FakeClock() }),
    /held by another process$/,
  );
  lock?.release();
});
