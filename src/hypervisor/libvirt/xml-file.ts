/** `virsh` takes XML as files only: one in a folder of its own that nobody else can read, gone after its use. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export async function withXmlFile<Result>(
  xml: string,
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-xml-'));
  const path = join(folder, 'document.xml');
  try {
    await writeFile(path, xml, { mode: 0o600 });
    return await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}
