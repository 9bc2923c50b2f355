/**
 * An NBD server: shows disks, read-only, to QEMU, libnbd's tools and the kernel, over a unix socket
 * (mode 0600) or TCP on the loopback address.
 *
 * A client can neither crash it nor make it hold more than some 32 MiB for its connection: garbage
 * ends the connection, over-long requests are refused, answers wait for the client to take them.
 */
import { existsSync } from 'node:fs';
import { chmod, lchown, lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { HoldfastError, isHoldfastError } from '#base';
import { formatNbdUri, type NbdAddress } from './nbd-address.ts';
import { serveHandshake } from './nbd-server-handshake.ts';
import { serveSession } from './nbd-server-session.ts';
import { ServerStream } from './nbd-server-stream.ts';
import type { ServedDisk } from './served-disk.ts';

export type NbdServerOptions = {
  /** By export name; '' is the default export. */
  readonly exports: ReadonlyMap<string, ServedDisk>;
  readonly listen: { readonly socketPath: string } | { readonly port: number };
  readonly maxConnections?: number;
  /** Told of failed reads and of clients that break the protocol. */
  readonly onError?: (error: unknown) => void;
};

export interface NbdServer {
  /** The address of an export, for `openSource`, QEMU or libnbd. */
  uri(exportName: string): string;
  /** Ends every connection, stops listening and removes the socket. Idempotent. */
  close(): Promise<void>;
}

const DEFAULT_MAX_CONNECTIONS = 64;
const LOOPBACK = '127.0.0.1';
/** sockaddr_un holds 108 bytes with the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/**
 * Starts to listen. A socket left over by a server that is gone is replaced, and keeps its owner.
 *
 * @throws {HoldfastError} `OutputExists` if the path is something else or a server listens there;
 *   `ArgumentInvalid` if the path is too long; `DiskUnavailable` if the address cannot be used.
 */
export async function startNbdServer(options: NbdServerOptions): Promise<NbdServer> {
  const { listen } = options;
  const left = 'socketPath' in listen ? await freeSocketPath(listen.socketPath) : undefined;

  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    void serveClient(socket, options);
  });
  server.maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
  await listening(server, listen);
  if ('socketPath' in listen) {
    await chmod(listen.socketPath, 0o600);
    // Whoever could use the socket before can use the new one.
    if (left !== undefined && process.getuid?.() === 0) {
      await lchown(listen.socketPath, left.uid, left.gid);
    }
  }

  const endpoint: NbdAddress['endpoint'] =
    'socketPath' in listen
      ? { path: listen.socketPath }
      : { host: LOOPBACK, port: (server.address() as AddressInfo).port };
  return {
    uri: (exportName) => formatNbdUri({ endpoint, exportName }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Never rejects: a client's failure is its own. */
async function serveClient(socket: Socket, options: NbdServerOptions): Promise<void> {
  const report = (error: unknown): void => options.onError?.(error);
  const stream = new ServerStream(socket);
  try {
    const session = await serveHandshake(stream, options.exports);
    if (session !== undefined) await serveSession(stream, session, report);
    stream.end();
  } catch (error) {
    // A client that just goes away is no error.
    if (!isHoldfastError(error, 'DiskUnavailable')) report(error);
    stream.destroy();
  }
}

function listening(server: Server, listen: NbdServerOptions['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new HoldfastError('DiskUnavailable', `cannot listen: ${cause.message}`, { cause }));
    });
    const where =
      'socketPath' in listen ? { path: listen.socketPath } : { host: LOOPBACK, port: listen.port };
    server.listen(where, resolve);
  });
}

/** Removes a socket without a server; who owned it. Undefined: there was none. */
async function freeSocketPath(path: string): Promise<{ uid: number; gid: number } | undefined> {
  requireSocketPath(path);
  const entry = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (entry === undefined) return undefined;
  if (!entry.isSocket()) throw new HoldfastError('OutputExists', `"${path}" exists`);
  if (await answers(path)) {
    throw new HoldfastError('OutputExists', `a server is listening on "${path}"`);
  }
  await unlink(path);
  return { uid: entry.uid, gid: entry.gid };
}

/** @throws {HoldfastError} `ArgumentInvalid` if the kernel does not take so long a path. */
export function requireSocketPath(path: string): void {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    `"${path}" is too long for a unix socket (${MAX_SOCKET_PATH_BYTES} bytes at most): choose a shorter folder`,
  );
}

/** Whether a server listens on this unix socket; unsure counts as yes. */
export async function isServed(path: string): Promise<boolean> {
  return existsSync(path) && (await answers(path));
}

/** Whether anyone listens on the socket; unsure counts as yes. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}
