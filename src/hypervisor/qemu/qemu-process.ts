/**
 * The process behind a QMP socket, found in /proc: who has the listening socket open. As another user than
 * QEMU's (and not root) nothing is found, and what is told of the VM lacks what only the process knows.
 */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

export type QemuProcess = {
  readonly pid: string;
  /** The program first. */
  readonly commandLine: readonly string[];
};

/** Columns of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path. */
const LISTENING = /^\S+ \S+ \S+ (?<flags>[0-9A-F]{8}) \S+ \S+ +(?<inode>\d+) (?<path>\/?.+)$/;
/** __SO_ACCEPTCON. */
const ACCEPTS = 0x10000;

/** Undefined: it cannot be seen. What cannot be read is another user's, or its process ended meanwhile. */
export async function findQemu(qmpPath: string): Promise<QemuProcess | undefined> {
  const real = await realpath(qmpPath).catch(() => qmpPath);
  const listening = await listeningSockets();
  const named = [...listening].filter(([, path]) => basename(path) === basename(real));
  if (named.length === 0) return undefined;
  for (const pid of await processes()) {
    const inodes = await openSockets(pid);
    const own = named.filter(([inode]) => inodes.has(inode));
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '/');
    if (!own.some(([, path]) => resolve(cwd, path) === real || !path.startsWith('/'))) continue;
    return { pid, commandLine: await commandLineOf(pid) };
  }
  return undefined;
}

/** A process whose arguments satisfy the test. */
export async function findCommandLine(
  isWanted: (commandLine: readonly string[]) => boolean,
): Promise<readonly string[] | undefined> {
  for (const pid of await processes()) {
    const commandLine = await commandLineOf(pid);
    if (isWanted(commandLine)) return commandLine;
  }
  return undefined;
}

async function processes(): Promise<readonly string[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
}

/** Inode → path. */
async function listeningSockets(): Promise<ReadonlyMap<string, string>> {
  const sockets = new Map<string, string>();
  for (const line of (await readFile('/proc/net/unix', 'utf8')).split('\n')) {
    const { flags, inode, path } = LISTENING.exec(line)?.groups ?? {};
    if (flags === undefined || inode === undefined || path === undefined) continue;
    if ((Number.parseInt(flags, 16) & ACCEPTS) !== 0) sockets.set(inode, path);
  }
  return sockets;
}

/** Inodes; none of a process that is gone or another user's. */
async function openSockets(pid: string): Promise<ReadonlySet<string>> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  const targets = await Promise.all(
    names.map(async (name) => await readlink(`${folder}/${name}`).catch(() => '')),
  );
  return new Set(targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}

async function commandLineOf(pid: string): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').slice(0, -1);
}
