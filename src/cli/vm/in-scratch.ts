/** A folder of its own for what a command needs while it runs. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Lends the folder to `use` and deletes it, whatever happens. QEMU, as whoever it runs, may enter it. */
export async function inScratch<Result>(
  parent: string,
  use: (scratchDir: string) => Promise<Result>,
): Promise<Result> {
  const scratchDir = await mkdtemp(join(parent, 'holdfast-'));
  try {
    await chmod(scratchDir, 0o711);
    return await use(scratchDir);
  } finally {
    await rm(scratchDir, { recursive: true, force: true });
  }
}
