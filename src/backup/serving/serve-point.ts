/** Shows a disk of a recovery point as a read-only disk, over NBD on a unix socket. */
import { startNbdServer } from '#disk';
import type { Repository } from '#repository';
import { diskOf } from '../point-disks.ts';
import { Crew } from '../threads/crew.ts';
import { defaultThreads } from '../threads/worker-thread.ts';
import { FramePool } from './frame-pool.ts';
import type { ServeWorkerCalls } from './serve-calls.ts';
import { ServedPoint } from './served-point.ts';

export type ServeRequest = {
  /** Open until the server is closed. */
  readonly repository: Repository;
  readonly point: string;
  /** The disk's name in the point. */
  readonly disk: string;
  readonly socketPath: string;
  /** Told in one line of reads that failed and of clients that break the protocol. */
  readonly warn?: (message: string) => void;
  readonly threads?: number;
};

export type PointServer = {
  /** Of the disk, for QEMU and libnbd. */
  readonly uri: string;
  readonly sizeBytes: number;
  /** Ends every connection, removes the socket, ends the threads. Idempotent. */
  readonly close: () => Promise<void>;
};

/** The most a frame of small blocks holds (docs/format.md §7). */
const FRAME_BYTES = 256 * 1024;
/** Each may have 32 MiB of answers under way: bounds memory to some 256 MiB beside the pool's. */
const MOST_CONNECTIONS = 8;
const WORKER = new URL('./serve.worker.ts', import.meta.url);

/**
 * Starts to serve; the caller closes it, then the repository. A place that cannot be read is an
 * input/output error to the client.
 *
 * @throws {HoldfastError} `PointNotFound`, `DiskNotFound`; `OutputExists` and `ArgumentInvalid` for a socket
 *   path that cannot be used.
 */
export async function servePoint(request: ServeRequest): Promise<PointServer> {
  const { repository, point, socketPath, warn } = request;
  const disk = diskOf(repository, request);
  await repository.pin([point]);
  const threads = request.threads ?? defaultThreads();
  const crew = Crew.start<ServeWorkerCalls>({ url: WORKER, threads, handlers: () => ({}) });
  try {
    const { store, keyring } = repository.parts;
    const data = { location: store.location, keyring: keyring.toWorkerData() };
    const pool = new FramePool(crew, Math.max(FRAME_BYTES, keyring.blockSize));
    const begin = { repository: data, cells: pool.cells };
    await crew.each(async (port) => await port.call('begin', begin));
    const served = new ServedPoint({ repository, point, disk, pool });
    const server = await startNbdServer({
      maxConnections: MOST_CONNECTIONS,
      exports: new Map([
        ['', served],
        [disk.name, served],
      ]),
      listen: { socketPath },
      onError: (error) => warn?.(error instanceof Error ? error.message : String(error)),
    });
    return {
      uri: server.uri(''),
      sizeBytes: disk.sizeBytes,
      close: async () => {
        await server.close();
        await crew.end();
      },
    };
  } catch (error) {
    await crew.end();
    throw error;
  }
}
