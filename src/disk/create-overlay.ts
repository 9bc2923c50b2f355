/** A writable image on top of a disk that is served read-only: what is written stays in the image. */
import { open, rm } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { runTool } from './tool.ts';

/** What the guest writes is for nobody else, as in restored images. */
const OVERLAY_MODE = 0o600;

/**
 * Makes a qcow2 image at `path` whose unwritten parts are those of the NBD export `uri`, which must be
 * served while this is made and whenever the image is used. Never over another file.
 *
 * @throws {HoldfastError} `OutputExists`, with the file as it was; `DiskWriteFailed`, `ToolMissing`, with
 *   nothing left behind.
 */
export async function createOverlay({
  path,
  uri,
}: {
  readonly path: string;
  readonly uri: string;
}): Promise<void> {
  await claim(path);
  try {
    const result = await runTool({
      command: 'qemu-img',
      args: ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', uri, path],
    });
    if ('complaint' in result) throw cannotCreate(path, result.complaint.trim());
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** qemu-img truncates what is there: it gets a file that is certainly ours. */
async function claim(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', OVERLAY_MODE)).close();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw cannotCreate(path, message, error);
    throw new HoldfastError('OutputExists', `"${path}" exists already`, { details: { path } });
  }
}

function cannotCreate(path: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'DiskWriteFailed',
    `cannot create "${path}": check space and permissions of its folder (${reason})`,
    { cause, details: { path } },
  );
}
