/**
 * A file that is named like a raw disk and begins like an image of another format: usually one that was
 * misnamed, and its backup as a raw disk would lack its backing file. It is refused, never opened by
 * what it looks like (image-format.ts says why); an explicit format settles it.
 */
import { open } from 'node:fs/promises';
import { extname } from 'node:path';
import { HoldfastError } from '#base';

/** What images begin with; of VDI, what stands behind its free text. */
const SIGNATURES: readonly {
  readonly format: string;
  readonly at: number;
  readonly bytes: Buffer;
}[] = [
  { format: 'qcow2', at: 0, bytes: Buffer.from('QFI\u00fb', 'latin1') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('KDMV') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('# Disk DescriptorFile') },
  { format: 'vhdx', at: 0, bytes: Buffer.from('vhdxfile') },
  { format: 'vpc', at: 0, bytes: Buffer.from('conectix') },
  { format: 'vdi', at: 64, bytes: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
];
const LOOKED_AT_BYTES = 512;

/**
 * Only for `.img`, which people use for any format: `.raw` says what it is, whatever a guest writes there.
 *
 * @throws {HoldfastError} `DiskFormatUnsupported` if the file looks like another format.
 */
export async function refuseLookalike(path: string): Promise<void> {
  if (extname(path).toLowerCase() !== '.img') return;
  const head = await readHead(path);
  const found = SIGNATURES.find(({ at, bytes }) =>
    head.subarray(at, at + bytes.length).equals(bytes),
  );
  if (found === undefined) return;
  throw new HoldfastError(
    'DiskFormatUnsupported',
    `"${path}" is named like a raw disk but begins like a ${found.format} image: say which it is`,
    { details: { path, format: found.format, formats: `${found.format} or raw` } },
  );
}

async function readHead(path: string): Promise<Buffer> {
  let handle;
  try {
    handle = await open(path, 'r');
  } catch {
    return Buffer.alloc(0); // Opening it for reading says what is wrong, in one place.
  }
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LOOKED_AT_BYTES), 0, undefined, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
