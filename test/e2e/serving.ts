/** `holdfast serve` as a process of its own, with a folder of VM images beside it. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const HOLDFAST = resolve('bin/holdfast');
const START_MS = 30_000;

export type Account = {
  readonly url: string;
  readonly caFile: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly clientId: string;
  readonly clientSecret: string;
};

export class Serving {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-serve-'));
  readonly data = join(this.folder, 'data');
  log = '';
  stdout = '';
  #child: ChildProcess | undefined;

  /** Ends with the tests of the file. */
  constructor() {
    after(async () => {
      await this.stop('SIGKILL');
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get account(): Account {
    return JSON.parse(readFileSync(join(this.data, 'admin.json'), 'utf8')) as Account;
  }

  /** Started when its API listens. */
  async start(args: readonly string[] = ['--listen', '127.0.0.1:0']): Promise<void> {
    const child = spawn(HOLDFAST, ['serve', '--data', this.data, ...args]);
    this.#child = child;
    child.stderr.on('data', (text) => (this.log += String(text)));
    child.stdout.on('data', (text) => (this.stdout += String(text)));
    const endMs = Date.now() + START_MS;
    while (!existsSync(join(this.data, 'state.json'))) {
      assert.ok(child.exitCode === null && Date.now() < endMs, `it does not start: ${this.log}`);
      await sleep(50);
    }
  }

  /** @returns the exit code; null if a signal ended it or it does not run. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  }
}
