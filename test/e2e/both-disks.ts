/**
 * A guest that writes numbered records in turn onto two disks as fast as it can, each durable before the next, and
 * whether two images of them are of one instant: no record is missing below the newest, and none is on the second
 * disk that is not on the first.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Long enough that records soon reach clusters which no backup has seen written. */
const PADDING = 'x'.repeat(1500);
const FILE = 'pairs';
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };

type Guest = { readonly sh: (script: string) => Promise<string> };

/** The guest has file systems on `/data` and `/data2`. Ends with it. */
export async function startPairs(guest: Guest): Promise<void> {
  await guest.sh(`mount -o remount,sync /data && mount -o remount,sync /data2
pad=${PADDING}; n=0
(while :; do n=$((n+1)); echo "$n $pad" >>/data/${FILE}; echo "$n $pad" >>/data2/${FILE}; done) >/dev/null 2>&1 </dev/null &`);
}

/** @returns the number of the newest record. */
export async function assertOneInstant(
  disks: { readonly first: Buffer; readonly second: Buffer },
  scratchFile: string,
): Promise<number> {
  const first = await pairsIn(disks.first, scratchFile);
  const second = await pairsIn(disks.second, scratchFile);
  const isOneInstant = second === first || second === first - 1;
  assert.ok(isOneInstant, `${first} records on the first disk, ${second} on the second`);
  return first;
}

/** How many records there are, as a guest that was switched off at the instant finds them. */
async function pairsIn(content: Buffer, path: string): Promise<number> {
  await writeFile(path, content);
  // Replays the journal; 1: that is all it had to do.
  await promisify(execFile)('e2fsck', ['-fy', path], { env }).catch(
    (error: { readonly code?: number; readonly stdout?: string }) => {
      assert.equal(error.code, 1, error.stdout);
    },
  );
  const { stdout } = await promisify(execFile)('debugfs', ['-R', `cat /${FILE}`, path], {
    env,
    maxBuffer: 512 << 20,
  });
  await rm(path);
  const lines = stdout.split('\n');
  // The record that was being written.
  if (lines.at(-1) !== `${lines.length} ${PADDING}`) lines.pop();
  for (const [at, line] of lines.entries()) {
    assert.ok(line === `${at + 1} ${PADDING}`, `record ${at + 1}: ${line.slice(0, 40)}`);
  }
  return lines.length;
}
