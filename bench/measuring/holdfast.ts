/** The commands of Holdfast as a user gives them, and a repository opened in this process. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { createRepository, withRepository, type Caller } from '#backup';
import { realClock } from '#base';
import { DEFAULT_BLOCK_SIZE } from '#repository';
import type { Command } from './run-command.ts';
import { folderBytes } from './workplace.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/holdfast');
const PASSWORD = 'correct horse';

export type OpenRepository = Parameters<Parameters<typeof withRepository>[1]>[0];

export const clock = realClock();

const caller: Caller = {
  clock,
  random: (sizeBytes) => randomBytes(sizeBytes),
  version: 'bench',
  warn: () => {},
  process: { host: 'bench', pid: process.pid, command: 'bench' },
};

export function holdfast(...args: readonly string[]): Command {
  return { args: [PROGRAM, 'repo', ...args, '--json'], variables: { HOLDFAST_PASSWORD: PASSWORD } };
}

export function holdfastVm(...args: readonly string[]): Command {
  return { args: [PROGRAM, 'vm', ...args, '--json'], variables: { HOLDFAST_PASSWORD: PASSWORD } };
}

/** What is stored; the local index is a cache and apart. */
export function holdfastBytes(repository: string): number {
  return folderBytes(repository, 'index');
}

/** The same folder and password as the commands use. */
export async function makeRepository(location: string): Promise<void> {
  await createRepository({
    location,
    blockSize: DEFAULT_BLOCK_SIZE,
    access: { kdf: 'scrypt', password: PASSWORD },
    label: 'bench',
    caller,
  });
}

export async function inRepository<Result>(
  location: string,
  use: (repository: OpenRepository) => Promise<Result>,
): Promise<Result> {
  return await withRepository(
    { location, access: 'own', password: PASSWORD, waitMs: 10_000, caller },
    use,
  );
}
