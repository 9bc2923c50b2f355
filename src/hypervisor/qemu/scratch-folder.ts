/**
 * The folder of one backup for scratch images and sockets. It is alive while its process is: the process
 * listens on an abstract unix socket of the folder's name, which the kernel closes with it. What is not alive
 * is removed by the next one.
 *
 * (A folder shared between containers is not: an abstract socket is seen in one network namespace only.)
 */
import { chmod, chown, mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { HoldfastError } from '#base';
import { OURS } from './names.ts';

/** A unix socket's path has 108 bytes, the last one zero. */
const MAX_SOCKET_PATH_BYTES = 107;
/** An empty qcow2 has 0.2 MiB; a guest that writes needs more at once. */
const LEAST_FREE_BYTES = 1024 * 1024;
const SOCKET = 'nbd.sock';
/** Narrow: what else begins like us in a folder that others use, as /tmp, is left alone. */
const FOLDER = /^holdfast-scratch-[0-9a-f]{16}$/;

export type ScratchFolder = {
  readonly path: string;
  /** For QEMU's NBD server; short enough, whatever the folder's path. */
  readonly socketPath: string;
  /** Of the file system that it is on. */
  space(): Promise<{ readonly freeBytes: number; readonly sizeBytes: number }>;
  /** Gives a file in it to QEMU's user. */
  give(path: string): Promise<void>;
  /** Removes all. Idempotent. */
  close(): Promise<void>;
};

/**
 * @param owner the user that QEMU runs as, from its socket.
 * @throws {HoldfastError} `StoreFull` if there is no room for even a start.
 */
export async function makeScratchFolder(
  scratchDir: string,
  {
    owner,
    diskCount,
    random,
  }: {
    readonly owner: { readonly uid: number; readonly gid: number };
    readonly diskCount: number;
    readonly random: (byteCount: number) => Buffer;
  },
): Promise<ScratchFolder> {
  await mkdir(scratchDir, { recursive: true });
  for (const place of new Set([scratchDir, tmpdir()])) await removeDeadFolders(place);
  const { freeBytes } = await space(scratchDir);
  if (freeBytes < diskCount * LEAST_FREE_BYTES) {
    throw new HoldfastError(
      'StoreFull',
      `"${scratchDir}" has no room for scratch images: ${freeBytes} bytes`,
      {
        details: { path: scratchDir, freeBytes, purpose: 'scratch' },
      },
    );
  }
  const name = `${OURS}scratch-${random(8).toString('hex')}`;
  const life = await beAlive(name);
  const path = join(scratchDir, name);
  const isLong = Buffer.byteLength(join(path, SOCKET)) > MAX_SOCKET_PATH_BYTES;
  await mkdir(path, { mode: 0o700 });
  const socketFolder = isLong ? join(tmpdir(), name) : path;
  if (isLong) await mkdir(socketFolder, { mode: 0o700 });
  const give = async (given: string): Promise<void> => {
    if (process.getuid?.() === 0 && owner.uid !== 0) await chown(given, owner.uid, owner.gid);
  };
  for (const folder of new Set([path, socketFolder])) {
    await chmod(folder, 0o700);
    await give(folder);
  }
  return {
    path,
    socketPath: join(socketFolder, SOCKET),
    space: async () => await space(path),
    give,
    close: async () => {
      await rm(path, { recursive: true, force: true });
      await rm(socketFolder, { recursive: true, force: true });
      life.close();
    },
  };
}

/** Whether the process that made a file's folder is still there. */
export async function isFolderAlive(folder: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ path: `\0${basename(folder)}` });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Removes the folder of a scratch image whose process is gone. */
export async function removeDeadFolder(image: string): Promise<void> {
  const folder = dirname(image);
  if (!FOLDER.test(basename(folder)) || (await isFolderAlive(folder))) return;
  await rm(folder, { recursive: true, force: true });
}

async function removeDeadFolders(scratchDir: string): Promise<void> {
  for (const name of await readdir(scratchDir)) {
    const folder = join(scratchDir, name);
    await removeDeadFolder(join(folder, SOCKET));
  }
}

async function beAlive(name: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path: `\0${name}` }, resolve);
  });
  return server.unref();
}

async function space(
  path: string,
): Promise<{ readonly freeBytes: number; readonly sizeBytes: number }> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
}
