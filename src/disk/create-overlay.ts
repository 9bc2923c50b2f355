/** A writable image on top of a disk that is served read-only: what is written stays in the image. */
import { existsSync } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { isOpenForWriting } from './image-lock.ts';
import { diskInUse, imageError, runTool } from './tool.ts';

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

/**
 * Whether the overlay still reads from what it was made on, a running VM's too; undefined: it is gone.
 *
 * @throws {HoldfastError} as `imageError`.
 */
export async function readsBelow(path: string): Promise<boolean | undefined> {
  if (!existsSync(path)) return undefined;
  const args = ['info', '-U', '--output=json', '-f', 'qcow2', path];
  const result = await runTool({ command: 'qemu-img', args });
  if ('complaint' in result) throw imageError('open', { path, format: 'qcow2' }, result.complaint);
  return 'backing-filename' in (JSON.parse(result.output) as object);
}

/** @throws {HoldfastError} `DiskInUse` if a QEMU process may write to the image. One that is gone is no error. */
export async function refuseInUse(path: string): Promise<void> {
  if (!existsSync(path)) return;
  if (await isOpenForWriting(await stat(path, { bigint: true }))) throw diskInUse(path);
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
