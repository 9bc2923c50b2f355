/**
 * What a VM of QEMU needs to start elsewhere: its command line, its UEFI variables, its TPM's state.
 *
 * As far as this process may see it. The command line is in /proc; without it (another user's QEMU, and not
 * root) the definition has the VM's description alone. The TPM's state lies where swtpm's own command line
 * says (`--tpmstate dir=…`), and swtpm is known by the socket that QEMU's TPM is connected to; it writes its
 * state at every change, so that a copy under way is whole but for one that changes meanwhile.
 */
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { HoldfastError } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { DefinitionFile, Vm, VmDefinition } from '../vm.ts';
import { settingsOf } from './command-line.ts';
import { readBlockLayer } from './block-layer.ts';
import { findCommandLine, type QemuProcess } from './qemu-process.ts';

/** Flash and TPM state are some MiB; more is something else. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const VARIABLES_UNIT = 1;

export async function defineVm(
  qmp: QmpClient,
  { vm, process }: { readonly vm: Vm; readonly process: QemuProcess | undefined },
): Promise<VmDefinition> {
  const commandLine = process?.commandLine ?? [];
  return {
    hypervisor: 'qemu',
    vm,
    ...(commandLine.length === 0 ? {} : { commandLine }),
    files: [...(await variablesOf(qmp, process)), ...(await tpmStateOf(qmp, commandLine))],
  };
}

async function variablesOf(
  qmp: QmpClient,
  process: QemuProcess | undefined,
): Promise<DefinitionFile[]> {
  const { flash } = await readBlockLayer(qmp);
  const path = flash.get(VARIABLES_UNIT);
  if (path === undefined) return [];
  // QEMU tells the path as it was given, which may be relative to where it was started.
  const folder = process === undefined ? '/' : await readlink(`/proc/${process.pid}/cwd`);
  const content = await contentOf(resolve(folder, path));
  return content === undefined ? [] : [{ role: 'uefi-variables', path, content }];
}

async function tpmStateOf(
  qmp: QmpClient,
  commandLine: readonly string[],
): Promise<DefinitionFile[]> {
  const [tpm] = await qmp.execute('query-tpm');
  const label = tpm?.options.data.chardev;
  const chardevs = settingsOf(commandLine, '-chardev');
  const socket = chardevs.find((each) => each.get('id') === label)?.get('path');
  if (label === undefined || socket === undefined) return [];
  const swtpm = await findCommandLine(
    ([program = '', ...rest]) =>
      program.endsWith('swtpm') && rest.some((argument) => argument.includes(`path=${socket}`)),
  );
  const state = swtpm?.find((argument) => /(^|,)dir=/.test(argument));
  const folder = /(?:^|,)dir=([^,]+)/.exec(state ?? '')?.[1];
  return folder === undefined ? [] : await filesBelow(folder);
}

async function filesBelow(folder: string): Promise<DefinitionFile[]> {
  const files: DefinitionFile[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === '.lock') continue;
    const path = join(entry.parentPath, entry.name);
    const content = await contentOf(path);
    if (content !== undefined)
      files.push({ role: 'tpm-state', path: relative(folder, path), content });
  }
  return files;
}

/** Undefined: it is not there. */
async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) {
      throw new HoldfastError(
        'HypervisorFailed',
        `"${path}" of the VM is too large: ${size} bytes`,
        {
          details: { path, size },
        },
      );
    }
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
