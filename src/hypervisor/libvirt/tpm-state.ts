/** The state of emulated TPMs, where libvirt's swtpm looks for it: a folder a domain, named by its UUID. */
import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, normalize, sep } from 'node:path';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import type { DefinitionFile } from '../vm.ts';

/** libvirt's default for `swtpm_user`. */
const SWTPM_USER = 'tss';

/** @throws {HoldfastError} `DefinitionUnsupported` if a name leaves the folder. */
export async function writeTpmState(
  folder: string,
  files: readonly DefinitionFile[],
): Promise<void> {
  const owner = await swtpmOwner();
  for (const { path, content } of files) {
    const inside = normalize(path);
    if (inside.startsWith('..') || inside.startsWith(sep)) {
      throw new HoldfastError('DefinitionUnsupported', `the TPM's state has a file "${path}"`);
    }
    const target = join(folder, inside);
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
