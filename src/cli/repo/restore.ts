/** `holdfast repo restore`: writes disks of a point to images or devices. */
import {
  findPoint,
  itemNames,
  restoreDisks,
  warmUpRestore,
  type RestoreRequest,
  type RestoreResult,
} from '#backup';
import { checkNamesDisks, parseDiskValues } from '../arguments/disk-arguments.ts';
import { checkOutputPath } from '../arguments/output-paths.ts';
import type { Context } from '../context.ts';
import { oneLine } from '../output/one-line.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration, formatSpeed } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';

export type RestoreOptions = {
  readonly item?: string;
  readonly disk?: readonly string[];
  readonly format?: readonly string[];
  readonly overwrite?: boolean;
};

type DisksToRestore = RestoreRequest['disks'];
type Restored = {
  readonly result: RestoreResult;
  readonly item: string;
  /** Names of the disks of the point that were not asked for. */
  readonly leftOut: readonly string[];
};

export async function restore(
  context: Context,
  input: { readonly location: string; readonly point: string; readonly options: RestoreOptions },
): Promise<void> {
  const { location, point, options } = input;
  const disks = disksOf(options);
  for (const { path } of disks) checkOutputPath(path, location);
  const { onProgress } = context.terminal;
  warmUpRestore();
  const done = await context.withRepository({ location, access: 'read' }, async (repository) => {
    const id = await findPoint(repository, point, options.item);
    const all = repository.state.points.get(id)?.disks ?? [];
    const leftOut = all.map(({ name }) => name).filter((name) => !isNamed(disks, name));
    const item = (await itemNames(repository)).get(id) ?? '';
    const result = await restoreDisks({
      repository,
      point: id,
      disks,
      overwrite: options.overwrite === true,
      clock: context.surroundings.clock,
      signal: context.signal,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    return { result, item, leftOut };
  });
  const { result } = done;
  const { point: pointId, seconds } = result;
  const restored = result.disks.map((disk) => ({ ...disk, path: pathOf(disks, disk.name) }));
  const { item, leftOut } = done;
  context.terminal.result({ pointId, item, disks: restored, leftOut, seconds }, () =>
    describe(done, disks),
  );
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

function isNamed(disks: DisksToRestore, name: string): boolean {
  return disks.some((disk) => disk.name === name);
}

function pathOf(disks: DisksToRestore, name: string): string {
  return disks.find((disk) => disk.name === name)!.path;
}

function describe({ result, item, leftOut }: Restored, disks: DisksToRestore): string {
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
  const rest =
    leftOut.length === 0 ? '' : `\n\nLeft out, not named by a --disk: ${leftOut.join(', ')}.`;
  return (
    `Restored the recovery point ${point} of ${oneLine(item)} in ${formatDuration(seconds)} ` +
    `(${formatBytes(sizeBytes)} of disk at ${formatSpeed(sizeBytes, seconds)}).\n\n${table}${rest}`
  );
}
