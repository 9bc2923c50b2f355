/** The state of emulated TPMs, where libvirt's swtpm looks for it: a folder a domain, named by its UUID. */
import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, normalize, sep } from 'node:path';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import type { DefinitionFile } from '../vm.ts';

/** libvirt's default for `swtpm_user`. */
const SWTPM_USER = 'tss';

/** @throws {HoldfastError} `DefinitionUnsupported` if a name leaves the folder. */
export function refuseUnsafeState(files: readonly DefinitionFile[]): void {
  for (const { path } of files) {
    const inside = normalize(path);
    if (!inside.startsWith('..') && !inside.startsWith(sep)) continue;
    throw new HoldfastError('DefinitionUnsupported', `the TPM's state has a file "${path}"`);
  }
}

/** @throws {HoldfastError} as `refuseUnsafeState`. */
export async function writeTpmState(
  folder: string,
  files: readonly DefinitionFile[],
): Promise<void> {
  refuseUnsafeState(files);
  const owner = await swtpmOwner();
  for (const { path, content } of files) {
    const target = join(folder, normalize(path));
    await mkdir(folder, { recursive: true, mode: 0o711 });
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await writeFile(target, content, { mode: 0o600 });
    if (owner === undefined) continue;
    await chown(dirname(target), owner, owner);
    await chown(target, owner, owner);
  }
}

export async function removeTpmState(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Undefined: there is no such user, or we are not root and swtpm runs as we do. */
async function swtpmOwner(): Promise<number | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const result = await runTool({ command: 'id', args: ['-u', SWTPM_USER] });
  return 'output' in result ? Number(result.output) : undefined;
}
