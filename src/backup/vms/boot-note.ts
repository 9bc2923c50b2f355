/**
 * What a folder keeps of a VM that was booted into it, from before the VM is defined until its disks are its
 * own or it is removed: enough for another process to go on, whenever the first one died.
 */
import { link, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, shellQuoted } from '#base';

export type BootNote = {
  readonly version: 1;
  /** Hex. */
  readonly repository: string;
  readonly point: string;
  readonly vm: string;
  /** The hypervisor, as `--connect` takes it. */
  readonly connect: string;
  readonly isTrial: boolean;
  readonly disks: readonly {
    readonly name: string;
    /** Of the overlay. */
    readonly path: string;
    /** Where the overlay reads the point from. */
    readonly socketPath: string;
  }[];
  /** The first folder that was made for it, if any was. */
  readonly made?: string;
};

/** Its name in the folder. */
export const BOOT_NOTE = 'holdfast-boot.json';

/** Durable on return. @throws {HoldfastError} `BootUnfinished` if there is a note already. */
export async function writeBootNote(directory: string, note: BootNote): Promise<void> {
  const path = join(directory, BOOT_NOTE);
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(note, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(`${path}.new`, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw unfinished(directory);
  } finally {
    await rm(`${path}.new`, { force: true });
  }
  await syncFolder(directory);
}

/** @throws {HoldfastError} `BootUnfinished`. */
export async function refuseUnfinished(directory: string): Promise<void> {
  if ((await textOf(directory)) !== undefined) throw unfinished(directory);
}

/** @throws {HoldfastError} `BootNotFound`; `FormatUnsupported` if a newer Holdfast wrote it. */
export async function readBootNote(directory: string): Promise<BootNote> {
  const text = await textOf(directory);
  if (text === undefined) {
    throw new HoldfastError(
      'BootNotFound',
      `in "${directory}" no VM was booted that Holdfast would have to go on with: it has no ${BOOT_NOTE}. A boot that has ended removes it: the VM runs on its own disks then`,
      { details: { path: directory } },
    );
  }
  const note = parsed(text) as Partial<BootNote> | undefined;
  if (note?.version === 1 && Array.isArray(note.disks)) return note as BootNote;
  throw new HoldfastError(
    'FormatUnsupported',
    `"${join(directory, BOOT_NOTE)}" is no note of a boot, or a newer Holdfast wrote it`,
    { details: { path: join(directory, BOOT_NOTE) } },
  );
}

export async function removeBootNote(directory: string): Promise<void> {
  await rm(join(directory, `${BOOT_NOTE}.new`), { force: true });
  await rm(join(directory, BOOT_NOTE), { force: true });
  await syncFolder(directory);
}

async function textOf(directory: string): Promise<string | undefined> {
  return await readFile(join(directory, BOOT_NOTE), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw error;
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

async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What goes on with the boot in the folder. The note knows the repository, but not where it is. */
export function resumeCommand(directory: string): string {
  return `holdfast vm boot --resume --dir ${shellQuoted(directory)} --repo REPO`;
}

/** What removes the VM that was booted into the folder. */
export function discardCommand(directory: string): string {
  return `holdfast vm boot --discard --dir ${shellQuoted(directory)}`;
}

function unfinished(directory: string): HoldfastError {
  return new HoldfastError(
    'BootUnfinished',
    `a VM was booted into "${directory}", and may still need the point: go on with ${resumeCommand(directory)}, remove it with ${discardCommand(directory)}, or choose another folder`,
    { details: { path: directory } },
  );
}
