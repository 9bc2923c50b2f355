/** `holdfast repo serve`: shows a disk of a point over NBD until Ctrl-C, which is its normal end. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { HoldfastError, shellQuoted } from '#base';
import { findPoint, servePoint } from '#backup';
import { parseDiskName } from '../arguments/disk-arguments.ts';
import { refuseInsideRepository } from '../arguments/output-paths.ts';
import type { Context } from '../context.ts';
import { formatBytes } from '../output/units.ts';
import { untilAborted } from '../until-aborted.ts';
import { UsageError } from '../usage-error.ts';

export type ServeOptions = {
  readonly item?: string;
  readonly disk: string;
  readonly socket: string;
};

/** What the kernel takes as the path of a unix socket. */
const MAX_SOCKET_PATH_BYTES = 107;

export async function serve(
  context: Context,
  input: { readonly location: string; readonly point: string; readonly options: ServeOptions },
): Promise<void> {
  const { location, point, options } = input;
  const disk = parseDiskName(options.disk);
  const socketPath = parseSocketPath(options.socket);
  refuseInsideRepository(socketPath, location);
  const { terminal, signal } = context;
  await context.withRepository({ location, access: 'read' }, async (repository) => {
    const pointId = await findPoint(repository, point, options.item);
    const { warn } = terminal;
    const server = await servePoint({ repository, point: pointId, disk, socketPath, warn });
    try {
      const { uri, sizeBytes: size } = server;
      terminal.result({ pointId, disk, size, uri, socket: socketPath }, () => uri);
      terminal.note(
        `Serving ${disk} of ${pointId}, ${formatBytes(size)}, read-only; Ctrl-C ends it. To write over it:\n` +
          `  qemu-img create -f qcow2 -F raw -b ${shellQuoted(uri)} overlay.qcow2`,
      );
      await untilAborted(signal);
    } finally {
      await server.close();
    }
  });
}

function parseSocketPath(text: string): string {
  if (text === '') throw new UsageError('--socket is empty');
  const path = resolve(text);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new UsageError(
      `--socket: the path of a unix socket has at most ${MAX_SOCKET_PATH_BYTES} bytes: ${path}`,
    );
  }
  if (existsSync(dirname(path))) return path;
  throw new HoldfastError('ArgumentInvalid', `there is no folder for the socket ${path}`);
}
