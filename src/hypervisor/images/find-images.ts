/**
 * The VMs in a folder, by their files: each sub-folder with images is one, each image directly in the folder
 * is one of a single disk. Which files are disks is settled here; what the images are, in describe-vm.ts.
 */
import { readdir, realpath } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { HoldfastError } from '#base';
import { readVmDescription, type DescribedDisk, type VmDescription } from './vm-json.ts';

export type FoundDisk = {
  readonly name: string;
  readonly path: string;
  /** QEMU's name, where `vm.json` or the extension says it. */
  readonly format: string | undefined;
};

/** Files outside of its folder that the VM's images may need. */
export function allowedFilesOf({ folder, description }: FoundVm): readonly string[] {
  return (description.allowedFiles ?? []).map((file) => resolve(folder, file));
}

export type FoundVm = {
  readonly name: string;
  /** The VM's own, or the one that all are in. */
  readonly folder: string;
  readonly description: VmDescription;
  /** Those of `vm.json`, or candidates: some may be only parts of others. */
  readonly disks: readonly FoundDisk[];
  readonly isDescribed: boolean;
};

/** Files of other kinds are no disks. */
const FORMATS: Readonly<Record<string, string>> = {
  '.raw': 'raw',
  '.img': 'raw',
  '.qcow2': 'qcow2',
  '.vmdk': 'vmdk',
  '.vhdx': 'vhdx',
  '.vdi': 'vdi',
  '.vhd': 'vpc',
  '.vpc': 'vpc',
};

/** @throws {HoldfastError} `HypervisorUnavailable` if the folder cannot be read; `ArgumentInvalid`. */
export async function findImages(root: string): Promise<readonly FoundVm[]> {
  const { folders, files } = await entriesOf(root);
  const described: FoundVm[] = [];
  for (const folder of folders) described.push(await vmInFolder(join(root, folder)));
  const claimed = new Set<string>();
  for (const vm of described.filter(({ isDescribed }) => isDescribed)) {
    for (const { path } of vm.disks) claimed.add(await real(path));
  }
  const vms = [...described, ...files.flatMap((file) => vmOfImage(root, file))];
  return await Promise.all(
    vms.map(async (vm) => (vm.isDescribed ? vm : await without(vm, claimed))),
  );
}

async function vmInFolder(folder: string): Promise<FoundVm> {
  const description = await readVmDescription(folder);
  const { files } = await entriesOf(folder);
  const listed: readonly DescribedDisk[] =
    description.disks ?? files.filter(isImage).map((file) => ({ file }));
  return {
    name: description.name ?? basename(folder),
    folder,
    description,
    disks: listed.map((disk) => ({
      name: disk.name ?? stem(basename(disk.file)),
      path: resolve(folder, disk.file),
      format: disk.format ?? formatOf(disk.file),
    })),
    isDescribed: description.disks !== undefined,
  };
}

function vmOfImage(root: string, file: string): FoundVm[] {
  if (!isImage(file)) return [];
  const name = stem(file);
  const disks = [{ name, path: join(root, file), format: formatOf(file) }];
  return [{ name, folder: root, description: {}, disks, isDescribed: false }];
}

async function without(vm: FoundVm, claimed: ReadonlySet<string>): Promise<FoundVm> {
  const disks: FoundDisk[] = [];
  for (const disk of vm.disks) if (!claimed.has(await real(disk.path))) disks.push(disk);
  return { ...vm, disks };
}

/** Sorted; hidden ones are nobody's business. */
async function entriesOf(folder: string): Promise<{ folders: string[]; files: string[] }> {
  let entries;
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw new HoldfastError(
      'HypervisorUnavailable',
      `cannot look for images in "${folder}": ${whyOf(cause as NodeJS.ErrnoException)}`,
      { cause, details: { folder } },
    );
  }
  const shown = entries.filter(({ name }) => !name.startsWith('.'));
  const names = (kept: typeof entries): string[] => kept.map(({ name }) => name).toSorted();
  const folders = shown.filter((entry) => entry.isDirectory());
  return { folders: names(folders), files: names(shown.filter((entry) => !entry.isDirectory())) };
}

function whyOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such folder: make it, or mount its disk';
  return code === 'ENOTDIR' ? 'it is no folder' : message;
}

/** The path itself where nothing is there: that is told when the disk is looked at. */
export async function real(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}

function isImage(file: string): boolean {
  return formatOf(file) !== undefined;
}

function formatOf(file: string): string | undefined {
  return FORMATS[extname(file).toLowerCase()];
}

function stem(file: string): string {
  return file.slice(0, file.length - extname(file).length);
}
