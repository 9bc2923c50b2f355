/**
 * `holdfast tour`: the commands a user would type, run one after the other on a sample disk, with what
 * they print; then the proof that the restored disk is the one that was backed up.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, throwIfCancelled } from '#base';
import { formatBytes, formatDuration } from '../output/units.ts';
import type { Surroundings } from '../surroundings.ts';
import { changeSampleDisk, checkFileSystem, makeSampleDisk } from './sample-disk.ts';
import { firstDifference } from './compare-files.ts';

export type Tour = {
  readonly surroundings: Surroundings;
  /** Keeps the folder at the end. */
  readonly keeps: boolean;
  /** Runs a command as the command line does. @returns its exit code. */
  readonly run: (args: readonly string[]) => Promise<number>;
};

/** A command of the tour failed, and has said why. */
class CommandFailed extends Error {}

type Places = {
  readonly folder: string;
  readonly disk: string;
  readonly repository: string;
  readonly restored: string;
  readonly passwordFile: string;
};

/** @returns the exit code. */
export async function takeTour(tour: Tour): Promise<number> {
  const { environment, clock } = tour.surroundings;
  const folder = await mkdtemp(join(environment.temporaryFolder, 'holdfast-tour-'));
  const startMs = clock.monotonicMs();
  try {
    await visit(tour, {
      folder,
      disk: join(folder, 'disk.img'),
      repository: join(folder, 'repository'),
      restored: join(folder, 'restored.img'),
      passwordFile: join(folder, 'password'),
    });
    say(tour, `\nAll of it took ${formatDuration((clock.monotonicMs() - startMs) / 1000)}.`);
    say(tour, tour.keeps ? `Everything is in ${folder}.` : `${folder} is removed again.`);
    say(tour, WITH_YOUR_OWN);
    return 0;
  } catch (error) {
    if (error instanceof CommandFailed) return 1;
    throw error;
  } finally {
    if (!tour.keeps) await rm(folder, { recursive: true, force: true });
  }
}

const WITH_YOUR_OWN = `
The same with a disk of your own (of a VM that is shut down, or a snapshot of one):

  bin/holdfast repo init /backups/vms
  bin/holdfast repo backup /backups/vms --item web --disk vda=/var/lib/libvirt/images/web.qcow2
  bin/holdfast repo points /backups/vms
  bin/holdfast repo restore /backups/vms latest --item web --disk vda=/tmp/web-restored.qcow2

README.md says what else there is.`;

async function visit(tour: Tour, places: Places): Promise<void> {
  const { disk, repository, restored, passwordFile } = places;
  const password = ['--password-file', passwordFile];
  const backup = ['repo', 'backup', repository, '--item', 'sample', '--disk', `vda=${disk}`];
  await writeFile(passwordFile, `${tour.surroundings.random(15).toString('base64')}\n`, {
    mode: 0o600,
  });

  step(tour, 'A sample disk: an ext4 file system with files of this machine');
  const sample = await makeSampleDisk(places.folder, disk);
  say(
    tour,
    `${disk}: ${formatBytes(sample.sizeBytes)}, ${sample.fileCount} files, ` + //
      `${formatBytes(sample.fileBytes)}`,
  );

  step(tour, 'A repository for its backups');
  await command(tour, ['repo', 'init', repository, ...password]);

  step(tour, 'The first recovery point stores everything once, compressed');
  await command(tour, [...backup, ...password]);

  step(tour, 'Some files are deleted, others written');
  const change = await changeSampleDisk(places.folder, disk);
  say(tour, `${change.deletedCount} files deleted, ${formatBytes(change.writtenBytes)} written`);

  step(tour, 'The second recovery point stores only what changed');
  await command(tour, [...backup, ...password]);
  await command(tour, ['repo', 'points', repository, ...password]);

  step(tour, 'The first point expires: what the second still needs becomes its own');
  await command(tour, ['repo', 'expire', repository, '--keep-last', '1', ...password]);
  await command(tour, ['repo', 'points', repository, ...password]);
  await command(tour, ['repo', 'compact', repository, ...password]);

  step(tour, 'Every stored byte is read and checked');
  await command(tour, ['repo', 'verify', repository, '--read-data', ...password]);

  step(tour, 'The second point is restored, and compared with the disk');
  await command(tour, [
    ...['repo', 'restore', repository, 'latest', '--disk', `vda=${restored}`],
    ...password,
  ]);
  await compare(tour, places);
}

async function compare(tour: Tour, { disk, restored }: Places): Promise<void> {
  const at = await firstDifference(disk, restored);
  if (at !== undefined) {
    throw new HoldfastError('ObjectDamaged', `the restored disk differs at byte ${at}`);
  }
  say(tour, '\nThe restored disk is the same, byte for byte.');
  await checkFileSystem(restored);
  say(tour, 'e2fsck finds no fault in its file system.');
}

async function command(tour: Tour, args: readonly string[]): Promise<void> {
  throwIfCancelled(tour.surroundings.signal);
  say(tour, `\n$ holdfast ${args.join(' ')}`);
  const exitCode = await tour.run(args);
  if (exitCode !== 0) throw new CommandFailed();
}

function step(tour: Tour, title: string): void {
  throwIfCancelled(tour.surroundings.signal);
  say(tour, `\n── ${title}\n`);
}

function say({ surroundings }: Tour, text: string): void {
  surroundings.stdout.write(`${text}\n`);
}
