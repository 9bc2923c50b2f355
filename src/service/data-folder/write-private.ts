/** Files that only their owner may read: whole or not there, whenever the machine stops. */
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

const PRIVATE = 0o600;

/** Writes or replaces the file; durable on return. @param mode 600 unless anybody may read it. */
export async function writePrivate(
  path: string,
  content: string | Buffer,
  mode = PRIVATE,
): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, 'w', mode);
  try {
    await file.chmod(mode); // It may have been there, with another mode.
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
