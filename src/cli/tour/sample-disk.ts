/** The tour's disk: a raw image with an ext4 file system of real files, made without root. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, open, opendir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '#base';

const MEBIBYTE = 1024 ** 2;
const DISK_BYTES = 256 * MEBIBYTE;
const FILE_BYTES = 190 * MEBIBYTE;
const LARGEST_FILE_BYTES = 8 * MEBIBYTE;
/** So many bytes of a folder at most, so that there is something of each kind. */
const FOLDER_BYTES = 75 * MEBIBYTE;
const SOURCES = ['/usr/bin', '/usr/lib', '/usr/share'];
const DELETED_FILES = 250;
const WRITTEN_BYTES = 40 * MEBIBYTE;
/** Debian keeps them where only root's PATH leads. */
const TOOL_PATH = '/usr/sbin:/sbin:/usr/bin:/bin';

const execute = promisify(execFile);

/** Makes the image `disk`; `folder` is used for what is needed meanwhile. */
export async function makeSampleDisk(
  folder: string,
  disk: string,
): Promise<{
  readonly sizeBytes: number;
  readonly fileCount: number;
  readonly fileBytes: number;
}> {
  const staging = join(folder, 'files');
  const copied = { fileCount: 0, fileBytes: 0 };
  for (const source of SOURCES) await copySome(source, join(staging, basename(source)), copied);
  await writeFile(disk, '');
  await truncate(disk, DISK_BYTES);
  await runTool('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', staging, disk]);
  await rm(staging, { recursive: true, force: true });
  return { sizeBytes: DISK_BYTES, ...copied };
}

/** Deletes files of the file system and writes others, as a guest would. */
export async function changeSampleDisk(
  folder: string,
  disk: string,
): Promise<{ readonly deletedCount: number; readonly writtenBytes: number }> {
  const listing = await runTool('debugfs', ['-R', 'ls -p /bin', disk]);
  const names = Array.from(
    listing.matchAll(/^\/\d+\/100\d+\/\d+\/\d+\/([^/\n"]+)\//gm),
    ([, name]) => String(name),
  ).slice(0, DELETED_FILES);
  const program = join(folder, 'program');
  await copyStart(process.execPath, program);
  const commands = join(folder, 'changes');
  const removals = names.map((name) => `rm "/bin/${name}"`);
  await writeFile(commands, [...removals, `write "${program}" /program`].join('\n'));
  await runTool('debugfs', ['-w', '-f', commands, disk]);
  return { deletedCount: names.length, writtenBytes: WRITTEN_BYTES };
}

async function copyStart(from: string, to: string): Promise<void> {
  const bytes = Buffer.alloc(WRITTEN_BYTES);
  await using source = await open(from);
  const { bytesRead } = await source.read(bytes, 0, WRITTEN_BYTES, 0);
  await writeFile(to, bytes.subarray(0, bytesRead));
}

/** @throws {HoldfastError} `DiskUnavailable` if e2fsck finds anything to repair. */
export async function checkFileSystem(disk: string): Promise<void> {
  await runTool('e2fsck', ['-f', '-n', disk]);
}

async function copySome(
  from: string,
  to: string,
  copied: { fileCount: number; fileBytes: number },
): Promise<void> {
  await mkdir(to, { recursive: true });
  const limitBytes = Math.min(FILE_BYTES, copied.fileBytes + FOLDER_BYTES);
  for await (const path of regularFiles(from)) {
    const size = await sizeIfReadable(path);
    if (size === undefined || size > LARGEST_FILE_BYTES) continue;
    if (copied.fileBytes + size > limitBytes) return;
    copied.fileCount += 1;
    copied.fileBytes += size;
    // Numbered, since two folders may have a file of the same name.
    await copyFile(path, join(to, `${copied.fileCount}-${basename(path)}`));
  }
}

async function* regularFiles(folder: string): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(folder, { recursive: true })) {
      if (entry.isFile()) yield join(entry.parentPath, entry.name);
    }
  } catch (error) {
    requirePassable(error);
  }
}

/** What is gone or closed to us is passed over: there is enough elsewhere. @throws every other error. */
function requirePassable(error: unknown): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && code !== 'EACCES') throw error;
}

/** Undefined also for what is gone, or in a folder that is closed to us. */
async function sizeIfReadable(path: string): Promise<number | undefined> {
  try {
    const { mode, size } = await stat(path);
    return (mode & 0o004) === 0 ? undefined : size;
  } catch (error) {
    requirePassable(error);
    return undefined;
  }
}

async function runTool(tool: string, args: readonly string[]): Promise<string> {
  try {
    const env = { PATH: TOOL_PATH, LC_ALL: 'C', DEBUGFS_PAGER: '__none__' };
    const { stdout } = await execute(tool, args, { env, maxBuffer: 64 * MEBIBYTE });
    return stdout;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new HoldfastError('ToolMissing', `${tool} is not installed (Debian: e2fsprogs)`, {
        cause,
      });
    }
    throw new HoldfastError('DiskUnavailable', `${tool} failed: ${message}`, { cause });
  }
}
