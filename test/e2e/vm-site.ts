/** A guest of QEMU, a repository, and the commands of a user on them. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { json, succeed } from '../cli/holdfast.ts';
import { guestFolder, startGuest, type TinyGuest } from './tiny-guest.ts';

/** What `vm backup --json` prints. */
export type Taken = {
  readonly pointId: string;
  readonly disks: readonly {
    readonly name: string;
    readonly size: number;
    readonly read: number;
    readonly changed: number;
    readonly stored: number;
    readonly tracking: 'bitmap' | 'compare' | 'initial';
    readonly reason?: string;
  }[];
  readonly seconds: number;
  readonly tasks: readonly { readonly name: string; readonly seconds: number }[];
  readonly consistency: string;
  readonly frozenMs?: number;
  readonly steps: readonly {
    readonly name: string;
    readonly outcome: string;
    readonly code?: string;
  }[];
};

type Shown = { readonly consistency: string; readonly disks: readonly { readonly name: string }[] };

export class Site {
  readonly guest: TinyGuest;
  readonly repository: string;
  readonly folder: string;

  constructor(folder: string, guest: TinyGuest) {
    this.folder = folder;
    this.guest = guest;
    this.repository = join(folder, 'repository');
  }

  static async make(t: TestContext, disks?: readonly string[]): Promise<Site> {
    const folder = await guestFolder(t);
    await succeed(['repo', 'init', join(folder, 'repository'), '--no-encryption']);
    const guest = await startGuest(t, disks === undefined ? {} : { disks });
    return new Site(folder, guest);
  }

  get connection(): readonly string[] {
    const { qmpPath, agentPath } = this.guest;
    return ['--connect', `qmp:${qmpPath},agent=${agentPath}`];
  }

  async name(): Promise<string> {
    const { vms } = await json<{ readonly vms: readonly { readonly name: string }[] }>([
      'vm',
      'list',
      ...this.connection,
    ]);
    return vms[0]!.name;
  }

  /** The arguments of a backup. */
  async backupCommand(...more: readonly string[]): Promise<readonly string[]> {
    const to = ['--repo', this.repository, '--item', 'guest', '--no-encryption', '--json'];
    return ['vm', 'backup', await this.name(), ...this.connection, ...to, ...more];
  }

  async backUp(...more: readonly string[]): Promise<Taken> {
    const { stdout } = await succeed(await this.backupCommand(...more));
    return JSON.parse(stdout) as Taken;
  }

  /** A disk of a point as a raw image. */
  async restored(point: string, disk = 'vd0'): Promise<string> {
    const path = join(this.folder, `${point}-${disk}.raw`);
    await rm(path, { force: true });
    const to = ['--disk', `${disk}=${path}`, '--no-encryption'];
    await succeed(['repo', 'restore', this.repository, point, ...to]);
    return path;
  }

  async show(point: string): Promise<Shown> {
    return await json<Shown>(['repo', 'show', this.repository, point, '--no-encryption']);
  }
}

/** In QEMU there is nothing of ours but the one bitmap. */
export async function assertNothingLeft(guest: TinyGuest, point: string): Promise<void> {
  const nodes = (await guest.qmp('query-named-block-nodes')) as readonly {
    readonly 'node-name': string;
    readonly 'dirty-bitmaps'?: readonly { readonly name: string }[];
  }[];
  for (const node of nodes) assert.doesNotMatch(node['node-name'], /holdfast/);
  const bitmaps = nodes.flatMap((node) => node['dirty-bitmaps'] ?? []).map(({ name }) => name);
  assert.deepEqual(
    [...new Set(bitmaps)].map((name) => name.split('-').at(-1)),
    [point],
  );
  assert.deepEqual(await guest.qmp('query-block-exports'), []);
  assert.deepEqual(await guest.qmp('query-jobs'), []);
}
