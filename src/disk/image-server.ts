/**
 * A qemu-nbd process that shows one image on a unix socket in a folder of its own (mode 0700).
 *
 * It runs in its own session, so that Ctrl-C reaches us and not it, and a guard ends it when our process
 * ends, however that happens. It holds QEMU's image lock for as long as it runs.
 */
import type { ChildProcess } from 'node:child_process';
import { access, rm } from 'node:fs/promises';
import { HoldfastError, type Clock, pause } from '#base';
import { GUARD_SHELL, spawnGuarded } from './guarded-process.ts';
import type { ImageRef } from './image-info.ts';
import { formatNbdUri } from './nbd-address.ts';
import { makeServerFolder, type ServerFolder } from './server-folder.ts';
import { imageError, toolError } from './tool.ts';

export type ImageServerOptions = {
  readonly image: ImageRef;
  readonly writable: boolean;
  /** A dirty bitmap of the image, shown as context `qemu:dirty-bitmap:NAME`. */
  readonly bitmap?: string;
  readonly clock: Clock;
};

export interface ImageServer {
  readonly uri: string;
  /** Resolves to the reason when the process has ended, by `close` or by itself. */
  readonly ended: Promise<Error>;
  /** Ends the process in order (a written image is complete on disk) and removes its folder. Idempotent. */
  close(): Promise<void>;
}

const MAX_CLIENTS = 32;
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 3;
/** One SIGTERM is lost if it comes as qemu-nbd has just become ready. */
const STOP_AGAIN_MS = 100;
const STOP_TIMEOUT_MS = 20_000;
const MAX_COMPLAINT_CHARACTERS = 4096;

/**
 * Starts the process and waits until it accepts connections.
 *
 * @throws {HoldfastError} `DiskInUse` if another process holds the image; `DiskFormatUnsupported`,
 *   `DiskUnavailable`, `ToolMissing`.
 */
export async function startImageServer(options: ImageServerOptions): Promise<ImageServer> {
  const { image, writable, clock } = options;
  const folder = await makeServerFolder();
  const child = spawnGuarded(['qemu-nbd', ...serverArgs(options, folder)], {
    // A written image is left complete; with one that is only read there is nothing to finish.
    endSignal: writable ? 'TERM' : 'KILL',
    folder: folder.path,
  });
  const ended = endOf(child, image);
  try {
    await untilReady(folder.readyFile, { ended, clock, path: image.path });
  } catch (error) {
    child.kill('SIGKILL');
    await rm(folder.path, { recursive: true, force: true });
    throw error;
  }
  return {
    uri: formatNbdUri({ endpoint: { path: folder.socket }, exportName: '' }),
    ended,
    close: async () => {
      await stop(child, { ended, clock, writable });
      await rm(folder.path, { recursive: true, force: true });
    },
  };
}

function serverArgs(
  { image, writable, bitmap }: ImageServerOptions,
  { socket, readyFile }: ServerFolder,
): string[] {
  const access = writable ? ['--discard=unmap', '--detect-zeroes=unmap'] : ['--read-only'];
  const shared = `--shared=${MAX_CLIENTS}`;
  const files = ['--socket', socket, '--pid-file', readyFile];
  const shown = bitmap === undefined ? [] : ['--bitmap', bitmap];
  return [
    ...access,
    ...shown,
    '--persistent',
    shared,
    '--format',
    image.format,
    ...files,
    image.path,
  ];
}

/** Resolves to the reason when the process has ended; never rejects. */
function endOf(child: ChildProcess, image: ImageRef): Promise<Error> {
  let complaint = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < MAX_COMPLAINT_CHARACTERS) complaint += text;
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(toolError(GUARD_SHELL, error)));
    child.once('close', (exitCode) => {
      const missing = exitCode === 127 && complaint.includes('qemu-nbd');
      resolve(
        missing
          ? new HoldfastError(
              'ToolMissing',
              'qemu-nbd is not installed: install it, then run again',
            )
          : imageError('open', image, complaint.trim() || `qemu-nbd ended (${exitCode})`),
      );
    });
  });
}

type Life = { readonly ended: Promise<Error>; readonly clock: Clock };

async function untilReady(
  readyFile: string,
  { ended, clock, path }: Life & { readonly path: string },
): Promise<void> {
  let failure: Error | undefined;
  void ended.then((error) => {
    failure = error;
  });
  for (let waitedMs = 0; waitedMs < START_TIMEOUT_MS; waitedMs += POLL_MS) {
    if (await exists(readyFile)) return;
    await clock.sleep(POLL_MS);
    if (failure !== undefined) throw failure;
  }
  throw new HoldfastError(
    'DiskUnavailable',
    `cannot open "${path}": qemu-nbd is not ready after ${START_TIMEOUT_MS / 1000} s: run again when the machine is less busy`,
    { details: { path } },
  );
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** SIGTERM until it has ended; SIGKILL in the end only where it writes nothing. */
async function stop(
  child: ChildProcess,
  { ended, clock, writable }: Life & { readonly writable: boolean },
): Promise<void> {
  const timer = new AbortController();
  const stopped = ended.then(() => timer.abort());
  for (let waitedMs = 0; !timer.signal.aborted; waitedMs += STOP_AGAIN_MS) {
    child.kill(!writable && waitedMs >= STOP_TIMEOUT_MS ? 'SIGKILL' : 'SIGTERM');
    await pause(clock, STOP_AGAIN_MS, timer.signal);
  }
  await stopped;
}
