/** Images served by nbdkit, whose log tells in one order what was asked of which. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export type LoggedRead = {
  readonly image: string;
  readonly offset: number;
  readonly length: number;
  /** Line numbers of the log: when it was asked for, and when it was answered. */
  readonly asked: number;
  readonly answered: number;
};

export type LoggedServer = {
  /** The address of an image, by its file name. */
  readonly uri: (image: string) => string;
  /** All reads so far, in the order in which they were asked for. */
  readonly reads: () => LoggedRead[];
};

const LINE =
  /connection=(?<connection>\d+) (?:Connect .*export='?(?<image>[^' ]+)|Read id=(?<asked>\d+) offset=0x(?<offset>[0-9a-f]+) count=0x(?<count>[0-9a-f]+)|\.\.\.Read id=(?<answered>\d+))/;

/** Serves the images of a folder until the test ends; each answer waits for `delayMs`. */
export async function nbdkitLog(
  t: Pick<TestContext, 'after'>,
  folder: string,
  options: { readonly delayMs?: number } = {},
): Promise<LoggedServer> {
  const socket = join(folder, 'nbdkit.sock');
  const log = join(folder, 'nbdkit.log');
  const filters = ['--filter=log'];
  const settings = [`dir=${folder}`, `logfile=${log}`];
  if (options.delayMs !== undefined) {
    filters.push('--filter=delay');
    settings.push(`rdelay=${options.delayMs}ms`);
  }
  const flags = ['--foreground', '--readonly', '--exit-with-parent', '--unix', socket];
  const child = spawn('nbdkit', [...flags, ...filters, 'file', ...settings], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  for (let tries = 0; tries < 1000 && !existsSync(socket); tries += 1) await sleep(5);
  assert.ok(existsSync(socket), 'nbdkit made no socket');
  return {
    uri: (image) => `nbd+unix:///${image}?socket=${socket}`,
    reads: () => readsIn(readFileSync(log, 'utf8')),
  };
}

function readsIn(log: string): LoggedRead[] {
  const images = new Map<string, string>();
  const reads = new Map<string, LoggedRead>();
  for (const [at, line] of log.split('\n').entries()) {
    const found = LINE.exec(line)?.groups;
    if (found === undefined) continue;
    const { connection, image, asked, answered } = found as Record<string, string | undefined>;
    if (image !== undefined) images.set(connection!, image);
    if (asked !== undefined) {
      reads.set(`${connection} ${asked}`, {
        image: images.get(connection!)!,
        offset: Number.parseInt(found['offset']!, 16),
        length: Number.parseInt(found['count']!, 16),
        asked: at,
        answered: Number.POSITIVE_INFINITY,
      });
    }
    const key = `${connection} ${answered}`;
    const read = reads.get(key);
    if (answered !== undefined && read !== undefined) reads.set(key, { ...read, answered: at });
  }
  return [...reads.values()];
}
