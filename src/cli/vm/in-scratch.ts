/** A folder of its own for what a command needs while it runs. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '#base';

/** Lends the folder to `use` and deletes it, whatever happens. QEMU, as whoever it runs, may enter it. */
export async function inScratch<Result>(
  parent: string,
  use: (scratchDir: string) => Promise<Result>,
): Promise<Result> {
  const scratchDir = await makeScratch(parent);
  try {
    await chmod(scratchDir, 0o711);
    return await use(scratchDir);
  } finally {
    await rm(scratchDir, { recursive: true, force: true });
  }
}

async function makeScratch(parent: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, 'holdfast-'));
  } catch (cause) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `nothing can be made in the scratch folder ${parent}: name another with --scratch (${(cause as Error).message})`,
      { cause, details: { folder: parent } },
    );
  }
}
