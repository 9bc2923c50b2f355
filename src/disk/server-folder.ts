/**
 * The folder of a qemu-nbd that we start: its socket and the file by which it says that it is ready. The guard of
 * the process removes it when we die; what both left, when all were killed at once, the next server sweeps.
 *
 * ```
 *   holdfast-nbd-XXXXXX/   mode 0700
 *     nbd                  the socket
 *     pid                  made once it listens
 * ```
 */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { lstat, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

const PREFIX = 'holdfast-nbd-';
const NAME = /^holdfast-nbd-[A-Za-z0-9]{6}$/;
const MAX_FOLDER_BYTES = 80;

export type ServerFolder = {
  readonly path: string;
  readonly socket: string;
  readonly readyFile: string;
};

/** Makes a folder, and removes those of dead servers beside it. */
export async function makeServerFolder(): Promise<ServerFolder> {
  // A socket's path has at most 107 bytes.
  const parent = Buffer.byteLength(tmpdir()) > MAX_FOLDER_BYTES ? '/tmp' : tmpdir();
  await removeDeadFolders(parent);
  return filesOf(await mkdtemp(join(parent, PREFIX)));
}

function filesOf(path: string): ServerFolder {
  return { path, socket: join(path, 'nbd'), readyFile: join(path, 'pid') };
}

async function removeDeadFolders(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []); // Who makes a folder there says what is wrong.
  for (const name of names.filter((each) => NAME.test(each))) {
    const folder = filesOf(join(parent, name));
    try {
      if (await isLeft(folder)) await rm(folder.path, { recursive: true, force: true });
    } catch {
      // It stays, and the next one tries again: nothing depends on it, and no backup fails by it.
    }
  }
}

/** Whether the folder is ours and had a server that listens no more. One that is not ready yet may be starting. */
async function isLeft({ path, socket, readyFile }: ServerFolder): Promise<boolean> {
  const stats = await lstat(path);
  if (!stats.isDirectory() || stats.uid !== process.getuid?.()) return false;
  const id = Number(await readFile(readyFile, 'utf8'));
  // Only spares living servers the connection: the kernel knows whether somebody listens.
  return !isAlive(id) && (await listensNoMore(socket));
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

async function listensNoMore(socket: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const connection = connect(socket);
    const answer = (isDead: boolean): void => {
      connection.destroy();
      resolve(isDead);
    };
    connection.once('connect', () => answer(false));
    connection.once('error', ({ code }: NodeJS.ErrnoException) =>
      answer(code === 'ECONNREFUSED' || code === 'ENOENT'),
    );
  });
}

export type ImageHolder = {
  readonly processId: number;
  /** Whether the command that started it is gone. */
  readonly isLeft: boolean;
};

/** The qemu-nbd of a Holdfast that shows this image itself, of those whose command lines we may read. */
export function findImageServer(imagePath: string): ImageHolder | undefined {
  for (const name of namesIn('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (showsImage(name, imagePath)) return { processId: Number(name), isLeft: isOrphan(name) };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error; // Gone meanwhile, or another user's.
    }
  }
  return undefined;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // Without it nothing is known of processes, and the message says what is probable.
  }
}

function showsImage(id: string, imagePath: string): boolean {
  const words = readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0').slice(0, -1);
  const socket = words[words.indexOf('--socket') + 1];
  if (basename(words[0] ?? '') !== 'qemu-nbd' || socket === undefined) return false;
  if (!NAME.test(basename(dirname(socket)))) return false;
  const shown = statSync(resolve(readlinkSync(`/proc/${id}/cwd`), words.at(-1)!), { bigint: true });
  const image = statSync(imagePath, { bigint: true });
  return shown.dev === image.dev && shown.ino === image.ino;
}

/** The parent of a server is the Node that started it, until that is gone. */
function isOrphan(id: string): boolean {
  const status = readFileSync(`/proc/${id}/status`, 'utf8');
  const parent = /^PPid:\s*(\d+)/m.exec(status)?.[1] ?? '0';
  try {
    return !basename(readlinkSync(`/proc/${parent}/exe`)).startsWith('node');
  } catch {
    return parent === '0' || parent === '1';
  }
}
