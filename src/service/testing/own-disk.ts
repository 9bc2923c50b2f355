/** A vault's repository on a file system of its own, which may be made full or read-only. */
import { execFileSync } from 'node:child_process';
import { cpSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestService } from './test-service.ts';

/** Of 24 MiB; gone when `use` has ended. Nobody works in the vault meanwhile but `use`. */
export async function onOwnDisk(
  { service, data }: TestService,
  vaultId: string,
  use: (repository: string) => Promise<void>,
): Promise<void> {
  const folder = join(data, 'vaults', vaultId);
  const [repository, copy] = [join(folder, 'repository'), join(folder, 'copy')];
  await service().repositories.release(vaultId);
  cpSync(repository, copy, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', repository]);
  try {
    cpSync(copy, repository, { recursive: true });
    await use(repository);
  } finally {
    await service().repositories.release(vaultId);
    execFileSync('umount', ['-l', repository]);
  }
}

/** Leaves no free byte. */
export function fillDisk(folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  writeFileSync(join(folder, 'filler'), Buffer.alloc(bavail * bsize, 1));
}

export function remount(folder: string, as: 'ro' | 'rw'): void {
  execFileSync('mount', ['-o', `remount,${as}`, folder]);
}
