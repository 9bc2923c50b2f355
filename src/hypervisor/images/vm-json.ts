/**
 * `vm.json` in a VM's folder: what its image files do not say. All of it may be left out.
 *
 * ```json
 * { "name": "web", "disks": [{ "name": "vda", "file": "system.img", "format": "qcow2" }],
 *   "firmware": "uefi", "uefiVariables": "web_VARS.fd", "allowedFiles": ["../template.qcow2"] }
 * ```
 *
 * Disks are in the order of the VM, the one that it boots from first. Files are relative to the folder.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '#base';

const VM_JSON = 'vm.json';

export type DescribedDisk = {
  readonly file: string;
  /** Absent: the file's name without its extension. */
  readonly name?: string;
  /** Absent: by the file's extension. */
  readonly format?: string;
};

export type VmDescription = {
  readonly name?: string;
  readonly uuid?: string;
  /** Absent: every image of the folder. None: the folder is no VM. */
  readonly disks?: readonly DescribedDisk[];
  readonly firmware?: 'bios' | 'uefi';
  readonly uefiVariables?: string;
  /** Backing files outside of the folder: what an image names by itself is not read. */
  readonly allowedFiles?: readonly string[];
};

/**
 * @returns an empty description where there is no `vm.json`.
 * @throws {HoldfastError} `ArgumentInvalid` naming the file and what is wrong in it.
 */
export async function readVmDescription(folder: string): Promise<VmDescription> {
  const path = join(folder, VM_JSON);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw invalid(path, `cannot be read: ${(error as Error).message}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(path, `is no JSON: ${(error as Error).message}`);
  }
  const wrong = whatIsWrong(value);
  if (wrong !== undefined) throw invalid(path, wrong);
  return value as VmDescription;
}

/** Whole or not at all. */
export async function writeVmDescription(
  folder: string,
  description: VmDescription,
): Promise<void> {
  const path = join(folder, VM_JSON);
  await writeFile(`${path}.new`, `${JSON.stringify(description, undefined, 2)}\n`, { flush: true });
  await rename(`${path}.new`, path);
}

function whatIsWrong(value: unknown): string | undefined {
  if (!isObject(value)) return 'is no JSON object';
  for (const key of ['name', 'uuid', 'uefiVariables']) {
    if (!isTextOrAbsent(value[key])) return `has a ${key} that is no text`;
  }
  const { firmware, disks, allowedFiles } = value;
  if (!isTextListOrAbsent(allowedFiles)) return 'has allowedFiles that are no list of texts';
  if (firmware !== undefined && firmware !== 'bios' && firmware !== 'uefi') {
    return 'has a firmware that is neither "bios" nor "uefi"';
  }
  if (disks === undefined) return undefined;
  if (!Array.isArray(disks)) return 'has disks that are no list';
  return disks.every(isDisk)
    ? undefined
    : 'has a disk without "file", or with a field that is no text';
}

function isDisk(value: unknown): boolean {
  if (!isObject(value) || typeof value['file'] !== 'string' || value['file'] === '') return false;
  return isTextOrAbsent(value['name']) && isTextOrAbsent(value['format']);
}

function isTextListOrAbsent(value: unknown): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) && value.every((text) => typeof text === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTextOrAbsent(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && value !== '');
}

function invalid(path: string, what: string): HoldfastError {
  return new HoldfastError('ArgumentInvalid', `"${path}" ${what}`, { details: { path } });
}
