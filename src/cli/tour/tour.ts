/**
 * `holdfast tour`: the commands a user would type, run one after the other on a sample disk, with what
 * they print; then the proof that the restored disk is the one that was backed up.
 */
import { mkdtemp, rm } from 'node:fs/promises';
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
  /** Runs a command as the command line does, `HOLDFAST_PASSWORD` being this. @returns its exit code. */
  readonly run: (args: readonly string[], password: string) => Promise<number>;
};

/** A command of the tour failed, and has said why. */
class CommandFailed extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('a command of the tour failed');
    this.exitCode = exitCode;
  }
}

/** @returns the exit code. */
export async function takeTour(tour: Tour): Promise<number> {
  const { environment, clock } = tour.surroundings;
  const folder = await mkdtemp(join(environment.temporaryFolder, 'holdfast-tour-'));
  const startMs = clock.monotonicMs();
  try {
    await new Guide(tour, folder).show();
    const seconds = (clock.monotonicMs() - startMs) / 1000;
    const after = tour.keeps ? `Everything is in ${folder}.` : `${folder} is removed again.`;
    const end = `\nAll of it took ${formatDuration(seconds)}. ${after}\n${WITH_YOUR_OWN}\n`;
    tour.surroundings.stdout.write(end);
    return 0;
  } catch (error) {
    if (error instanceof CommandFailed) return error.exitCode;
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

class Guide {
  readonly #tour: Tour;
  readonly #folder: string;
  readonly #disk: string;
  readonly #repository: string;
  readonly #restored: string;
  readonly #password: string;

  constructor(tour: Tour, folder: string) {
    this.#tour = tour;
    this.#folder = folder;
    this.#disk = join(folder, 'disk.img');
    this.#repository = join(folder, 'repository');
    this.#restored = join(folder, 'restored.img');
    this.#password = tour.surroundings.random(15).toString('base64');
  }

  async show(): Promise<void> {
    const backup = ['--item', 'sample', '--disk', `vda=${this.#disk}`];
    this.#say(`The tour is in ${this.#folder}; the password in HOLDFAST_PASSWORD.`);

    this.#step('A sample disk: an ext4 file system with files of this machine');
    const sample = await makeSampleDisk(this.#folder, this.#disk);
    const size = formatBytes(sample.sizeBytes);
    this.#say(`disk.img: ${size}, ${sample.fileCount} files, ${formatBytes(sample.fileBytes)}`);

    this.#step('A repository for its backups');
    await this.#repo('init');

    this.#step('The first recovery point stores everything once, compressed');
    await this.#repo('backup', ...backup);

    this.#step('Files are deleted, others written, as a guest would');
    const change = await changeSampleDisk(this.#folder, this.#disk);
    this.#say(`${change.deletedCount} files deleted, ${formatBytes(change.writtenBytes)} written`);

    this.#step('The second recovery point stores only what changed');
    await this.#repo('backup', ...backup);
    await this.#repo('points');

    this.#step('The first point expires: what the second still needs becomes its own');
    await this.#repo('expire', '--keep-last', '1');
    await this.#repo('points');
    await this.#repo('compact');

    this.#step('Every stored byte is read and checked');
    await this.#repo('verify', '--read-data');

    this.#step('The second point is restored, and compared with the disk');
    await this.#repo('restore', 'latest', '--disk', `vda=${this.#restored}`);
    await this.#compare();
  }

  async #compare(): Promise<void> {
    const at = await firstDifference(this.#disk, this.#restored);
    if (at !== undefined) {
      throw new HoldfastError('ObjectDamaged', `the restored disk differs at byte ${at}`);
    }
    this.#say('The restored disk is the same, byte for byte.');
    await checkFileSystem(this.#restored);
    this.#say('e2fsck finds no fault in its file system.');
  }

  /** Shows a command on the repository, and runs it. */
  async #repo(command: string, ...rest: string[]): Promise<void> {
    throwIfCancelled(this.#tour.surroundings.signal);
    const args = ['repo', command, this.#repository, ...rest];
    this.#say(`$ holdfast ${args.map((arg) => arg.replace(`${this.#folder}/`, '')).join(' ')}\n`);
    const exitCode = await this.#tour.run(args, this.#password);
    if (exitCode !== 0) throw new CommandFailed(exitCode);
    this.#say('');
  }

  #step(title: string): void {
    throwIfCancelled(this.#tour.surroundings.signal);
    this.#say(`\n── ${title}\n`);
  }

  #say(text: string): void {
    this.#tour.surroundings.stdout.write(`${text}\n`);
  }
}
