/** A guest that Holdfast has started from a recovery point, as tests reach it: its agent, and its QMP socket. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { realClock } from '#base';
import { QmpClient } from '../../src/hypervisor/qmp/qmp-client.ts';

const RUN_GUEST = resolve(import.meta.dirname, '../lab/run-guest');
const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;

export class RestoredGuest {
  readonly directory: string;
  readonly qmpPath: string;
  readonly connection: readonly string[];

  private constructor(directory: string) {
    this.directory = directory;
    this.qmpPath = join(directory, 'qmp.sock');
    this.connection = ['--connect', `qmp:${this.qmpPath},agent=${join(directory, 'qga.sock')}`];
  }

  /** In a folder of its own below `parent`; whatever QEMU is left in it ends with the test. */
  static async in(t: TestContext, parent: string, name: string): Promise<RestoredGuest> {
    const directory = join(parent, name);
    await mkdir(directory);
    return RestoredGuest.at(t, directory);
  }

  /** With its sockets in a folder that is there. */
  static at(t: TestContext, directory: string): RestoredGuest {
    const guest = new RestoredGuest(directory);
    t.after(async () => await guest.kill());
    return guest;
  }

  /** Waits until the agent answers; the guest has booted then. */
  async answers(): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      if (existsSync(join(this.directory, 'qga.sock'))) break;
      assert.ok(tries < 600, 'QEMU was never started');
      await sleep(100);
    }
    await this.sh('true');
  }

  async sh(script: string): Promise<string> {
    const args = ['exec', this.directory, '/bin/sh', '-c', script];
    const env = { ...process.env, PATH, GA_TIMEOUT: '300' };
    const { stdout } = await promisify(execFile)(RUN_GUEST, args, { env, maxBuffer: 64 << 20 });
    return stdout;
  }

  /** As Holdfast does not use the socket just then. */
  async qmp<Answer>(use: (qmp: QmpClient) => Promise<Answer>): Promise<Answer> {
    const qmp = await QmpClient.connect({ path: this.qmpPath, clock: realClock() });
    try {
      return await use(qmp);
    } finally {
      await qmp.close();
    }
  }

  /** Names of the drivers of all block nodes. */
  async drivers(): Promise<readonly string[]> {
    return await this.qmp(async (qmp) =>
      (await qmp.execute('query-named-block-nodes', { flat: true })).map(({ drv }) => drv),
    );
  }

  get isRunning(): Promise<boolean> {
    return this.pid().then((pid) => pid !== undefined);
  }

  /** Shuts the guest down in order. */
  async shutDown(): Promise<void> {
    await this.sh('sync; (sleep 1; poweroff -f) >/dev/null 2>&1 </dev/null &');
    while ((await this.pid()) !== undefined) await sleep(100);
  }

  async kill(): Promise<void> {
    const pid = await this.pid();
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    while ((await this.pid()) !== undefined) await sleep(50);
  }

  /** Of the QEMU whose arguments name this folder's socket. */
  async pid(): Promise<number | undefined> {
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const words = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      if (words.startsWith('qemu-system') && words.includes(`unix:${this.qmpPath},`)) {
        return Number(name);
      }
    }
    return undefined;
  }
}
