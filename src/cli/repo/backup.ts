/** `holdfast repo backup`: takes a recovery point of images, devices or NBD exports. */
import { backUpDisks, warmUpBackup, type BackupResult, type DiskToBackUp } from '#backup';
import { checkNamesDisks, parseDiskValues } from '../arguments/disk-arguments.ts';
import { readHintFile } from '../arguments/hint-file.ts';
import { parseItemName } from '../arguments/item-name.ts';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatDuration, formatSpeed } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';

export type BackupOptions = {
  readonly item: string;
  readonly disk?: readonly string[];
  readonly format?: readonly string[];
  readonly changedOnlyHint?: readonly string[];
  readonly allowFile?: readonly string[];
};

export async function backup(
  context: Context,
  location: string,
  options: BackupOptions,
): Promise<void> {
  const item = parseItemName(options.item);
  const disks = await disksOf(options);
  const { onProgress, warn } = context.terminal;
  warmUpBackup();
  const result = await context.withRepository(
    { location, access: 'own' },
    async (repository) =>
      await backUpDisks({
        repository,
        item,
        disks,
        clock: context.surroundings.clock,
        signal: context.signal,
        warn,
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
  );
  for (const { name, size } of result.disks) {
    if (size === 0) warn(`the disk ${name} has 0 bytes: is it the right one?`);
  }
  context.terminal.result(result, () => describe(item, result));
}

async function disksOf(options: BackupOptions): Promise<DiskToBackUp[]> {
  const locations = parseDiskValues('--disk', options.disk);
  if (locations.size === 0) {
    throw new UsageError('no disk: name one or more, for example --disk vda=disk.qcow2');
  }
  const formats = parseDiskValues('--format', options.format);
  checkNamesDisks('--format', formats, locations);
  const hintFiles = parseDiskValues('--changed-only-hint', options.changedOnlyHint);
  checkNamesDisks('--changed-only-hint', hintFiles, locations);
  const disks: DiskToBackUp[] = [];
  for (const [name, location] of locations) {
    const format = formats.get(name);
    const hintFile = hintFiles.get(name);
    disks.push({
      name,
      location,
      allowedFiles: options.allowFile ?? [],
      ...(format === undefined ? {} : { format }),
      ...(hintFile === undefined ? {} : { hint: await readHintFile(hintFile) }),
    });
  }
  return disks;
}

function describe(item: string, { pointId, disks, seconds }: BackupResult): string {
  const readBytes = disks.reduce((sum, { read }) => sum + read, 0);
  const table = formatTable(
    [left('DISK'), ...['SIZE', 'READ', 'CHANGED', 'ADDED TO REPOSITORY'].map(right)],
    disks.map(({ name, size, read, changed, stored }) => [
      name,
      ...[size, read, changed, stored].map(formatBytes),
    ]),
  );
  const speed = readBytes === 0 ? '' : ` (read at ${formatSpeed(readBytes, seconds)})`;
  return `Recovery point ${pointId} of ${item}, taken in ${formatDuration(seconds)}${speed}.\n\n${table}`;
}
