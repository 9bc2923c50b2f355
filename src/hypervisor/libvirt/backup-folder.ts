/**
 * The folder of one backup: scratch images and the socket of QEMU's NBD server. A socket of our own in it shows
 * that the backup lives: it answers for as long as our process does, so that the job of a process that was
 * killed can be told from one that still runs, whatever became of its process id.
 *
 * ```
 *   holdfast-XXXXXX/        ours, others may pass through
 *     alive                 our socket
 *     backup.xml …          what virsh is given
 *     qemu/                 QEMU's user writes here: nbd, vda.qcow2 …
 * ```
 */
import {
  access,
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { HoldfastError } from '#base';

export type BackupFolder = {
  /** For QEMU's NBD server. */
  readonly socketPath: string;
  /** Where a disk's scratch image will be made. */
  scratchPath(diskName: string): string;
  /** Writes what only we, and the virsh that we start, may read. @returns its path. */
  writeDocument(name: string, text: string): Promise<string>;
  /** Removes it with all that is in it. Idempotent. */
  remove(): Promise<void>;
};

const PREFIX = 'holdfast-';
const QEMU_FOLDER = 'qemu';
const ALIVE = 'alive';
const SOCKET = 'nbd';
/** A path of a unix socket has 107 bytes; `/holdfast-XXXXXX/qemu/nbd` takes 25. */
const MAX_PARENT_BYTES = 82;
const SHORT_PARENT = '/tmp';

/**
 * @param owner whose processes QEMU's are; absent: ours.
 * @throws {HoldfastError} `StoreFailed` if it cannot be made.
 */
export async function makeBackupFolder(
  scratchDir: string,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<BackupFolder> {
  try {
    await removeDeadIn(scratchDir);
    const scratch = await makeShared(scratchDir, owner);
    const isShort = Buffer.byteLength(scratchDir) <= MAX_PARENT_BYTES;
    const sockets = isShort ? scratch : await makeShared(SHORT_PARENT, owner);
    const server = await listen(join(sockets, ALIVE));
    // Whoever knows only where the images are finds it too.
    if (!isShort) await symlink(join(sockets, ALIVE), join(scratch, ALIVE));
    return {
      socketPath: join(sockets, QEMU_FOLDER, SOCKET),
      scratchPath: (diskName) => join(scratch, QEMU_FOLDER, `${diskName}.qcow2`),
      writeDocument: async (name, text) => {
        const path = join(scratch, name);
        await writeFile(path, text, { mode: 0o600 });
        return path;
      },
      remove: async () => {
        server.close();
        await rm(sockets, { recursive: true, force: true });
        await rm(scratch, { recursive: true, force: true });
      },
    };
  } catch (cause) {
    throw new HoldfastError(
      'StoreFailed',
      `cannot make a scratch folder in "${scratchDir}": ${(cause as Error).message}`,
      { cause, details: { path: scratchDir } },
    );
  }
}

/** What processes left that were killed. QEMU may still have such a scratch image open; it keeps it until it closes it. */
async function removeDeadIn(parent: string): Promise<void> {
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    const folder = join(parent, name);
    if (name.startsWith(PREFIX) && (await hasSocket(folder)) && !(await isBackupAlive(folder))) {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function hasSocket(folder: string): Promise<boolean> {
  return await access(join(folder, ALIVE)).then(
    () => true,
    () => false,
  );
}

async function makeShared(
  parent: string,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<string> {
  const folder = await mkdtemp(join(parent, PREFIX));
  await chmod(folder, 0o711);
  await mkdir(join(folder, QEMU_FOLDER), { mode: 0o700 });
  // Only root runs VMs as another user.
  if (owner !== undefined && process.getuid?.() === 0) {
    await chown(join(folder, QEMU_FOLDER), owner.uid, owner.gid);
  }
  return folder;
}

/** Nobody says anything: that it can be connected to is all. */
async function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}

/** The folder of the backup that has this scratch image; undefined: no backup of ours. */
export function folderOfImage(imagePath: string): string | undefined {
  return folderOfSocket(join(dirname(imagePath), SOCKET));
}

/** The folder of the backup that has this NBD socket; undefined: no backup of ours. */
export function folderOfSocket(socketPath: string): string | undefined {
  const folder = dirname(dirname(socketPath));
  const isOurs =
    basename(socketPath) === SOCKET &&
    basename(dirname(socketPath)) === QEMU_FOLDER &&
    basename(folder).startsWith(PREFIX);
  return isOurs ? folder : undefined;
}

/** Whether the process that made the folder still has its backup. */
export async function isBackupAlive(folder: string): Promise<boolean> {
  const alive = join(folder, ALIVE);
  // A socket's path is short; that of a link to it may be any.
  const path = await realpath(alive).catch(() => alive);
  return await new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Refused, or there is no socket: nobody is there.
    socket.once('error', () => resolve(false));
  });
}

/** Removes the folders of a backup whose process was killed. */
export async function removeDeadFolders(paths: readonly (string | undefined)[]): Promise<void> {
  for (const path of new Set(paths)) {
    if (path !== undefined) await rm(path, { recursive: true, force: true });
  }
}
