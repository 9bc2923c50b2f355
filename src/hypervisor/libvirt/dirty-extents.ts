/** What a dirty bitmap on an NBD export says has changed. */
import { HoldfastError, type Clock } from '#base';
import { ExtentCollector, NbdClient, type Extent } from '#disk';

const DIRTY = 1;

/**
 * @param bitmap as QEMU exports it, without `qemu:dirty-bitmap:`; undefined: only the size is asked.
 * @returns ascending extents, at most some million: beyond that, near ones are joined.
 * @throws {HoldfastError} `HypervisorFailed` if the export has no such bitmap; as `NbdClient`.
 */
export async function readExport(
  options: {
    readonly socketPath: string;
    readonly exportName: string;
    readonly clock: Clock;
    readonly signal?: AbortSignal | undefined;
  },
  bitmap: string | undefined,
): Promise<{ readonly sizeBytes: number; readonly dirty: readonly Extent[] | undefined }> {
  const { socketPath, exportName, clock, signal } = options;
  const context = `qemu:dirty-bitmap:${bitmap}`;
  const client = await NbdClient.connect({
    address: { endpoint: { path: socketPath }, exportName },
    clock,
    contexts: bitmap === undefined ? [] : [context],
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { sizeBytes } = client;
    if (bitmap === undefined) return { sizeBytes, dirty: undefined };
    if (!client.hasContext(context)) {
      throw new HoldfastError(
        'HypervisorFailed',
        `QEMU exports ${exportName} without its bitmap ${bitmap}`,
      );
    }
    const collector = new ExtentCollector();
    for await (const status of client.statuses(context, { offset: 0, length: sizeBytes })) {
      if ((status.flags & DIRTY) !== 0) collector.add(status);
    }
    const dirty = collector.extents().map(({ offset, length }) => ({ offset, length }));
    return { sizeBytes, dirty };
  } finally {
    await client.close();
  }
}
