/** For this room's tests: a real repository in a scratch folder, real images, and the tools that check them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { realClock } from '#base';
import type { Repository } from '#repository';
import { createRepository } from '../new-repository.ts';
import { withRepository, type Caller } from '../open-repository.ts';
import {
  restoreDisks,
  type RestoreRequest,
  type RestoreResult,
} from '../restoring/restore-disks.ts';
import { backUpDisks } from '../taking/back-up-disks.ts';
import type { BackupRequest, BackupResult } from '../taking/backup-run.ts';

export const clock = realClock();

type BackupOptions = Partial<BackupRequest> & Pick<BackupRequest, 'disks'>;
type RestoreOptions = Partial<RestoreRequest> & Pick<RestoreRequest, 'point' | 'disks'>;

export type Lab = {
  readonly folder: string;
  readonly location: string;
  /** What was warned of so far. */
  readonly warnings: string[];
  /** A path in the scratch folder. */
  readonly path: (name: string) => string;
  readonly own: <Result>(use: (repository: Repository) => Promise<Result>) => Promise<Result>;
  readonly read: <Result>(use: (repository: Repository) => Promise<Result>) => Promise<Result>;
  /** Opens the repository and backs up; two threads. */
  readonly backUp: (options: BackupOptions) => Promise<BackupResult>;
  readonly restore: (options: RestoreOptions) => Promise<RestoreResult>;
  /** Restores one disk to a raw file and reads it. */
  readonly contentOf: (point: string, disk?: string) => Promise<Buffer>;
};

/** A folder with a new repository, not encrypted; it goes when the test ends. */
export async function makeLab(t: TestContext, blockSize = 4096): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-backup-'));
  t.after(async () => await rm(folder, { recursive: true, force: true }));
  const location = join(folder, 'repository');
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const caller: Caller = {
    clock,
    random: (size) => randomBytes(size),
    version: 'test',
    process: { host: 'here', pid: process.pid, command: 'test' },
    warn,
  };
  await createRepository({ location, blockSize, access: { kdf: 'none' }, label: 'test', caller });
  const opened = { location, password: undefined, waitMs: 0, caller };
  let outputs = 0;
  const lab: Lab = {
    folder,
    location,
    warnings,
    path: (name) => join(folder, name),
    own: async (use) => await withRepository({ ...opened, access: 'own' }, use),
    read: async (use) => await withRepository({ ...opened, access: 'read' }, use),
    backUp: async (options) =>
      await lab.own(
        async (repository) =>
          await backUpDisks({ repository, item: 'vm', clock, warn, threads: 2, ...options }),
      ),
    restore: async (options) =>
      await lab.read(
        async (repository) =>
          await restoreDisks({ repository, clock, overwrite: false, threads: 2, ...options }),
      ),
    contentOf: async (point, name = 'vda') => {
      outputs += 1;
      const path = lab.path(`output-${outputs}.raw`);
      await lab.restore({ point, disks: [{ name, path }] });
      const content = await readFile(path);
      await rm(path);
      return content;
    },
  };
  return lab;
}

/** Runs a program that must succeed; its standard output. */
export async function run(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { maxBuffer: 64 << 20 })).stdout;
}

/** Bytes that are the same for the same seed, and do not compress. */
export function noise(seed: string, lengthBytes: number): Buffer {
  return createHash('shake256', { outputLength: lengthBytes }).update(seed).digest();
}

export type Patch = { readonly offset: number; readonly bytes: Uint8Array };

/** Makes a sparse raw image. */
export async function writeImage(
  path: string,
  sizeBytes: number,
  patches: readonly Patch[] = [],
): Promise<void> {
  await writeFile(path, '');
  await patchImage(path, { sizeBytes, patches });
}

/** Changes an image in place. */
export async function patchImage(
  path: string,
  change: { readonly sizeBytes?: number; readonly patches?: readonly Patch[] },
): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    if (change.sizeBytes !== undefined) await handle.truncate(change.sizeBytes);
    for (const { offset, bytes } of change.patches ?? []) {
      await handle.write(bytes, 0, bytes.length, offset);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What a restored disk must be. */
export async function assertSame(content: Buffer, path: string): Promise<void> {
  const expected = await readFile(path);
  assert.equal(content.length, expected.length);
  assert.ok(content.equals(expected), `differs at ${firstDifference(content, expected)}`);
}

function firstDifference(a: Buffer, b: Buffer): number {
  return a.findIndex((byte, at) => byte !== b[at]);
}
