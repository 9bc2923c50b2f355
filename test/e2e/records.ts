/** A guest that writes numbered, checksummed records with fsync, and what a restored disk holds of them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import type { TinyGuest } from './tiny-guest.ts';

type Guest = Pick<TinyGuest, 'sh'>;

const FILE = 'records';

/** Each line: number, 200 random digits, SHA-256 of both; durable before the next. */
const writer = (after: number): string => `
n=${after}; while :; do n=$((n+1))
body="$n $(dd if=/dev/urandom bs=100 count=1 2>/dev/null | od -An -tx1 | tr -d ' \\n')"
echo "$body $(printf %s "$body" | sha256sum | cut -d' ' -f1)" | dd of=/data/${FILE} oflag=append conv=notrunc,fsync 2>/dev/null
done`;

/** Starts the writer; it goes on until the guest ends. `after`: the number of the last record that is there. */
export async function startWriting(guest: Guest, after = 0): Promise<void> {
  await guest.sh(`(${writer(after)}) >/dev/null 2>&1 </dev/null &`);
}

/** The number of the newest durable record, as the guest sees it. */
export async function writtenSoFar(guest: Guest): Promise<number> {
  const last = await guest.sh(`sync; tail -n 1 /data/${FILE} 2>/dev/null | cut -d' ' -f1`);
  return Number(last.trim() || '0');
}

/** Waits until the guest has written `count` more records. */
export async function moreRecords(guest: Guest, count: number): Promise<number> {
  const from = await writtenSoFar(guest);
  let now = from;
  while (now < from + count) now = await writtenSoFar(guest);
  return now;
}

/**
 * The records on a raw image of an ext4 file system: that they are whole and without gap from the first on.
 *
 * @returns how many there are.
 */
export async function recordsIn(image: string): Promise<number> {
  const { stdout } = await promisify(execFile)('debugfs', ['-R', `cat /${FILE}`, image], {
    maxBuffer: 256 << 20,
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
  const lines = stdout.split('\n');
  assert.equal(lines.pop(), '', 'the last record is whole');
  for (const [at, line] of lines.entries()) {
    const [number, body, sum] = line.split(' ');
    assert.equal(Number(number), at + 1, `record ${at + 1} follows`);
    const expected = createHash('sha256').update(`${number} ${body}`).digest('hex');
    assert.equal(sum, expected, `record ${number} is what was written`);
  }
  return lines.length;
}

/** That nothing of the file system needs repair. */
export async function assertCleanFileSystem(image: string): Promise<void> {
  const { stdout } = await promisify(execFile)('e2fsck', ['-fn', image], {
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
  assert.doesNotMatch(stdout, /WARNING|FIXED|errors/i);
}
