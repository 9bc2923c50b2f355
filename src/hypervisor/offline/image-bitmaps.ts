/**
 * The dirty bitmaps stored in a qcow2 image that is off, through qemu-img and qemu-nbd: each step opens the
 * image under QEMU's own lock, and is over before the next begins.
 */
import { HoldfastError, type Clock } from '#base';
import {
  imageError,
  inspectImage,
  intersectExtents,
  NbdClient,
  normaliseExtents,
  parseNbdUri,
  runTool,
  startImageServer,
  type Extent,
  type InspectedImage,
} from '#disk';

type Image = Pick<InspectedImage, 'path' | 'format' | 'sizeBytes'>;

/** In which QEMU says of a range that it was written. */
const DIRTY = 1;

/** @throws {HoldfastError} as `changeBitmap`; `HypervisorFailed` if it could not be stored. */
export async function addBitmap(
  image: Image,
  bitmap: { readonly name: string; readonly granularityBytes: number },
): Promise<void> {
  const granularity = String(bitmap.granularityBytes);
  await changeBitmap(image, { name: bitmap.name, actions: ['--add', '-g', granularity] });
  await checkStored(image, bitmap.name);
}

/**
 * Adds to `into` all that `from` counted, and lets it count on. Doing it twice changes nothing.
 *
 * @throws {HoldfastError} as `addBitmap`.
 */
export async function mergeBitmaps(
  image: Image,
  { into, from }: { readonly into: string; readonly from: readonly string[] },
): Promise<void> {
  const merges = from.flatMap((name) => ['--merge', name]);
  await changeBitmap(image, { name: into, actions: [...merges, '--enable'] });
  await checkStored(image, into);
}

/** One that is not there is no error. */
export async function removeBitmap(image: Image, name: string): Promise<void> {
  await changeBitmap(image, { name, actions: ['--remove'], harmless: /Dirty bitmap .* not found/ });
}

/** QEMU stores bitmaps when it closes the image, and qemu-img succeeds even where that fails. */
async function checkStored({ path, format }: Image, name: string): Promise<void> {
  const { chain } = await inspectImage({ path, format }, { allowOutside: true });
  const bitmaps = chain[0]!['format-specific']?.data?.bitmaps ?? [];
  const stored = bitmaps.find((bitmap) => bitmap.name === name);
  if (stored !== undefined && !stored.flags.includes('in-use')) return;
  throw new HoldfastError(
    'HypervisorFailed',
    `the bitmaps of "${path}" could not be stored: make room on its file system; the next backup compares the whole disk`,
    { details: { path, bitmap: name } },
  );
}

type BitmapChange = {
  readonly name: string;
  readonly actions: readonly string[];
  /** The complaint that is no error. */
  readonly harmless?: RegExp;
};

/**
 * @throws {HoldfastError} `DiskInUse`, `DiskNotFound`, `DiskUnavailable`, `ToolMissing`. qemu-img is not
 *   cancelled: killed, it would leave every bitmap of the image unusable.
 */
async function changeBitmap(
  image: Image,
  { name, actions, harmless }: BitmapChange,
): Promise<void> {
  const result = await runTool({
    command: 'qemu-img',
    args: ['bitmap', '-f', image.format, ...actions, image.path, name],
  });
  if (!('complaint' in result) || harmless?.test(result.complaint) === true) return;
  throw imageError('change the bitmaps of', image, result.complaint);
}

/**
 * What any of the bitmaps says was written: ascending, within the disk. They may be enabled: an image that
 * is open read-only has no writer.
 *
 * @throws {HoldfastError} `DiskInUse`, `DiskUnavailable`, `HypervisorFailed`, `Cancelled`.
 */
export async function readDirtyExtents(
  image: Image,
  names: readonly string[],
  options: { readonly clock: Clock; readonly signal?: AbortSignal },
): Promise<Extent[]> {
  const dirty: Extent[] = [];
  for (const name of names) dirty.push(...(await readBitmap(image, name, options)));
  return intersectExtents(normaliseExtents(dirty), [{ offset: 0, length: image.sizeBytes }]);
}

async function readBitmap(
  image: Image,
  bitmap: string,
  { clock, signal }: { readonly clock: Clock; readonly signal?: AbortSignal },
): Promise<Extent[]> {
  const context = `qemu:dirty-bitmap:${bitmap}`;
  const server = await startImageServer({ image, writable: false, bitmap, clock });
  try {
    const client = await NbdClient.connect({
      address: parseNbdUri(server.uri),
      clock,
      contexts: [context],
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      if (!client.hasContext(context)) {
        throw new HoldfastError(
          'HypervisorFailed',
          `qemu-nbd does not show the bitmap ${bitmap} of "${image.path}"`,
          { details: { path: image.path, bitmap } },
        );
      }
      const dirty: Extent[] = [];
      const disk = { offset: 0, length: client.sizeBytes };
      for await (const { offset, length, flags } of client.statuses(context, disk)) {
        if ((flags & DIRTY) !== 0) dirty.push({ offset, length });
      }
      return dirty;
    } finally {
      await client.close();
    }
  } finally {
    await server.close();
  }
}
