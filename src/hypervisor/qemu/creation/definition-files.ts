/** The files of a definition that a VM of QEMU keeps beside its images: UEFI variables, its TPM's state. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { HoldfastError } from '#base';
import type { DefinitionFile } from '../../vm.ts';
import type { DefineRequest } from '../../vm-creation.ts';
import type { DefinedVm } from './defined-vm.ts';
import { placeIn } from './host-ends.ts';

const TPM_FILE = /^tpm-00\./;

export function tpmOf(request: DefineRequest, socketPath: string): NonNullable<DefinedVm['tpm']> {
  const place = placeIn(request.directory, request.name);
  const [folder, pidPath] = [place('tpm'), place('swtpm.pid')];
  const state = request.definition.files.filter(({ role }) => role === 'tpm-state');
  if (state.length === 0) {
    request.warn?.('the point has no state of its TPM: the new one is empty');
  }
  const isOld = state.some(({ path }) => TPM_FILE.test(path));
  return {
    folder,
    socketPath,
    pidPath,
    args: [
      'socket',
      ...(isOld ? [] : ['--tpm2']),
      '--tpmstate',
      `dir=${folder}`,
      '--ctrl',
      `type=unixio,path=${socketPath}`,
      '--pid',
      `file=${pidPath}`,
      '--daemon',
      '--terminate',
    ],
  };
}

/** @throws {HoldfastError} `DefinitionUnsupported` if the VM needs a file that is not there, or has an unsafe name. */
export function refuseLackingFiles(
  files: readonly DefinitionFile[],
  { variablesPath, tpm }: DefinedVm,
): void {
  if (variablesPath !== undefined && !files.some(({ role }) => role === 'uefi-variables')) {
    throw new HoldfastError(
      'DefinitionUnsupported',
      'the point lacks the UEFI variables of the VM: restore its disks, and start QEMU with them',
    );
  }
  if (tpm === undefined) return;
  for (const { role, path } of files) {
    const inside = normalize(path);
    if (role !== 'tpm-state' || !(inside.startsWith('..') || isAbsolute(inside))) continue;
    throw new HoldfastError('DefinitionUnsupported', `the TPM's state has a file "${path}"`);
  }
}

/** @throws {HoldfastError} as `refuseLackingFiles`. */
export async function writeFiles(
  files: readonly DefinitionFile[],
  defined: DefinedVm,
): Promise<void> {
  refuseLackingFiles(files, defined);
  const { variablesPath, tpm } = defined;
  if (variablesPath !== undefined) {
    const variables = files.find(({ role }) => role === 'uefi-variables')!;
    await writeFile(variablesPath, variables.content, { mode: 0o600 });
  }
  if (tpm === undefined) return;
  await mkdir(tpm.folder, { recursive: true });
  await chmod(tpm.folder, 0o700);
  for (const { role, path, content } of files) {
    if (role !== 'tpm-state') continue;
    const target = join(tpm.folder, normalize(path));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content, { mode: 0o600 });
  }
}
