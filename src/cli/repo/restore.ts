/** `holdfast repo restore`: writes disks of a point to images or devices. */
import { findPoint, restoreDisks, type RestoreRequest, type RestoreResult } from '#backup';
import { checkNamesDisks, parseDiskValues } from '../arguments/disk-arguments.ts';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration, formatSpeed } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';

export type RestoreOptions = {
  readonly item?: string;
  readonly disk: readonly string[];
  readonly format: readonly string[];
  readonly overwrite?: boolean;
};

type DisksToRestore = RestoreRequest['disks'];

export async function restore(
  context: Context,
  input: { readonly location: string; readonly point: string; readonly options: RestoreOptions },
): Promise<void> {
  const { location, point, options } = input;
  const disks = disksOf(options);
  const { onProgress } = context.terminal;
  const result = await context.withRepository(
    { location, access: 'read' },
    async (repository) =>
      await restoreDisks({
        repository,
        point: findPoint(repository, point, options.item),
        disks,
        overwrite: options.overwrite === true,
        clock: context.surroundings.clock,
        signal: context.signal,
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
  );
  const { point: pointId, seconds } = result;
  const restored = result.disks.map((disk) => ({ ...disk, path: pathOf(disks, disk.name) }));
  context.terminal.result({ pointId, disks: restored, seconds }, () => describe(result, disks));
}

function disksOf(options: RestoreOptions): DisksToRestore {
  const paths = parseDiskValues('--disk', options.disk);
  if (paths.size === 0) {
    throw new UsageError('no disk: name one or more, for example --disk vda=restored.qcow2');
  }
  const formats = parseDiskValues('--format', options.format);
  checkNamesDisks('--format', formats, paths);
  return Array.from(paths, ([name, path]) => {
    const format = formats.get(name);
    return { name, path, ...(format === undefined ? {} : { format }) };
  });
}

function pathOf(disks: DisksToRestore, name: string): string {
  return disks.find((disk) => disk.name === name)!.path;
}

function describe(result: RestoreResult, disks: DisksToRestore): string {
  const { point, seconds } = result;
  const sizeBytes = result.disks.reduce((sum, { size }) => sum + size, 0);
  const table = formatTable(
    [left('DISK'), right('SIZE'), right('WRITTEN'), left('TO')],
    result.disks.map(({ name, size, written }) => [
      name,
      formatBytes(size),
      formatBytes(written),
      pathOf(disks, name),
    ]),
  );
  return (
    `Restored the recovery point ${point} in ${formatDuration(seconds)} ` +
    `(${formatBytes(sizeBytes)} of disk at ${formatSpeed(sizeBytes, seconds)}).\n\n${table}`
  );
}
