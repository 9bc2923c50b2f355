/** A writable image on top of a disk that is served read-only: what is written stays in the image. */
import { HoldfastError } from '#base';
import { runTool } from './tool.ts';

/**
 * Makes a qcow2 image at `path` whose unwritten parts are those of the NBD export `uri`, which must be
 * served while this is made and whenever the image is used.
 *
 * @throws {HoldfastError} `DiskWriteFailed`, `ToolMissing`.
 */
export async function createOverlay({
  path,
  uri,
}: {
  readonly path: string;
  readonly uri: string;
}): Promise<void> {
  const result = await runTool({
    command: 'qemu-img',
    args: ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', uri, path],
  });
  if (!('complaint' in result)) return;
  throw new HoldfastError(
    'DiskWriteFailed',
    `cannot create "${path}": check space and permissions of its folder (${result.complaint.trim()})`,
    { details: { path } },
  );
}
