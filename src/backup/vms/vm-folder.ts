/** The folder of a new VM's images and sockets. */
import { chmod, mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** What lies in it has modes of its own; QEMU, as whoever it runs, has to pass through, whatever our umask. */
const PASSABLE = 0o711;

/** Makes it, and folders above it that are not there. One that is there stays as it is. */
export async function makeVmFolder(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: PASSABLE });
  if (first === undefined) return;
  for (let folder = resolve(directory); ; folder = dirname(folder)) {
    await chmod(folder, PASSABLE);
    if (folder === resolve(first)) return;
  }
}
