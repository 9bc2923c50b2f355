/**
 * VMs that we have defined for QEMU: each a file `NAME.qemu.json`, and beside it `NAME.start.sh`, which starts
 * it without us. Where the file is not in the folder of the VM's QMP socket, a link to it is there: by the
 * socket a VM is found whether it runs or not.
 */
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { HoldfastError, shellQuoted } from '#base';
import type { Vm } from '../../vm.ts';
import { fileName } from './host-ends.ts';

export type DefinedVm = {
  readonly version: 1;
  /** As it was defined: `state` is of no meaning. */
  readonly vm: Vm;
  readonly qmpPath: string;
  readonly agentPath?: string;
  readonly pidPath: string;
  /** Every path in its folder that QEMU makes. */
  readonly files: readonly string[];
  /** The program first. */
  readonly commandLine: readonly string[];
  /** Where QEMU is started, if the folder is there: files may be named from it. */
  readonly workingDirectory?: string;
  readonly variablesPath?: string;
  /** swtpm's arguments, its state's folder and its socket. */
  readonly tpm?: {
    readonly folder: string;
    readonly socketPath: string;
    readonly pidPath: string;
    readonly args: readonly string[];
  };
};

const SUFFIX = '.qemu.json';

export function descriptionPath(directory: string, name: string): string {
  return join(directory, `${fileName(name)}${SUFFIX}`);
}

/** The VMs whose QMP socket is this one. */
export async function definedAt(
  qmpPath: string,
): Promise<readonly { readonly path: string; readonly defined: DefinedVm }[]> {
  const folder = dirname(qmpPath);
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
  const found: { readonly path: string; readonly defined: DefinedVm }[] = [];
  for (const name of names.filter((one) => one.endsWith(SUFFIX))) {
    const path = join(folder, name);
    const defined = await readDefined(path);
    if (defined !== undefined && resolve(defined.qmpPath) === resolve(qmpPath)) {
      found.push({ path, defined });
    }
  }
  return found;
}

/** Undefined: there is none. @throws {HoldfastError} `ArgumentInvalid` if it is no such file. */
export async function readDefined(path: string): Promise<DefinedVm | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const value = parsed(text) as Partial<DefinedVm> | undefined;
  const isWhole =
    value?.version === 1 && typeof value.qmpPath === 'string' && Array.isArray(value.commandLine);
  if (isWhole) return value as DefinedVm;
  throw new HoldfastError(
    'ArgumentInvalid',
    `"${path}" describes no VM, or was written by a newer Holdfast`,
    {
      details: { path },
    },
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Whoever asked says so.
  }
}

/** Whole or not at all. Both may hold passwords: nobody else reads them. */
export async function writeDefined(directory: string, defined: DefinedVm): Promise<void> {
  const path = descriptionPath(directory, defined.vm.name);
  await writeWhole(path, `${JSON.stringify(defined, undefined, 2)}\n`, 0o600);
  await writeWhole(scriptPath(directory, defined.vm.name), startScript(defined), 0o700);
  const folder = dirname(defined.qmpPath);
  if (resolve(folder) === resolve(directory)) return;
  await mkdir(folder, { recursive: true });
  const link = descriptionPath(folder, defined.vm.name);
  await symlink(path, link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/** With all that was made with it; images stay. Of a VM that runs, only what describes it. */
export async function removeDefined(
  directory: string,
  defined: DefinedVm,
  { isRunning }: { readonly isRunning: boolean },
): Promise<void> {
  const { vm, qmpPath, agentPath, files, tpm } = defined;
  const descriptions = [
    descriptionPath(dirname(qmpPath), vm.name),
    descriptionPath(directory, vm.name),
    scriptPath(directory, vm.name),
  ];
  for (const file of descriptions) await rm(file, { force: true });
  if (isRunning) return;
  const own = [...files, qmpPath, ...(agentPath === undefined ? [] : [agentPath])];
  for (const file of own) await rm(file, { force: true });
  if (tpm !== undefined) await rm(tpm.pidPath, { force: true });
  if (tpm !== undefined) await rm(tpm.folder, { recursive: true, force: true });
}

function scriptPath(directory: string, name: string): string {
  return join(directory, `${fileName(name)}.start.sh`);
}

async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  await writeFile(`${path}.new`, text, { mode, flush: true });
  await rename(`${path}.new`, path);
}

function startScript({ vm, commandLine, workingDirectory, tpm }: DefinedVm): string {
  const [program = '', ...rest] = commandLine;
  const lines: string[][] = [[program]];
  for (const word of rest) {
    if (word.startsWith('-') && word.length > 1) lines.push([word]);
    else lines.at(-1)!.push(word);
  }
  const command = lines.map((words) => words.map(shellQuoted).join(' ')).join(' \\\n  ');
  return [
    '#!/bin/sh',
    `# Starts the VM ${vm.name.replaceAll('\n', ' ')}; it runs on by itself. Written by Holdfast.`,
    'set -eu',
    ...(workingDirectory === undefined ? [] : [`cd ${shellQuoted(workingDirectory)}`]),
    ...(tpm === undefined ? [] : [['swtpm', ...tpm.args].map(shellQuoted).join(' ')]),
    `exec ${command}`,
    '',
  ].join('\n');
}
