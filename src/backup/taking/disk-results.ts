/** Gathers what the threads report of each disk until the point is committed. */
import type { DiskResult } from '#repository';
import type { BackupSource } from './backup-source.ts';
import type { AuditBatchResult, UnitBatchResult } from './unit-job.ts';

type Tally = {
  units: Map<number, Buffer>;
  readBytes: number;
  changedBlocks: number;
  newBytes: number;
};

export class DiskResults {
  readonly #sources: readonly BackupSource[];
  readonly #blockSize: number;
  readonly #tallies: readonly Tally[];

  constructor(sources: readonly BackupSource[], blockSize: number) {
    this.#sources = sources;
    this.#blockSize = blockSize;
    this.#tallies = sources.map(() => ({
      units: new Map(),
      readBytes: 0,
      changedBlocks: 0,
      newBytes: 0,
    }));
  }

  readonly take = (result: UnitBatchResult): void => {
    const tally = this.#tallies[result.disk]!;
    for (const { unit, id } of result.pages) tally.units.set(unit, Buffer.from(id));
    tally.readBytes += result.readBytes;
    tally.changedBlocks += result.changedBlocks;
    tally.newBytes += result.newBytes;
  };

  /** All of the disk will be reported once more. What was read and stored for it so far remains so. */
  restart(disk: number): void {
    const tally = this.#tallies[disk]!;
    tally.units = new Map();
    tally.changedBlocks = 0;
  }

  takeAudit(result: AuditBatchResult): void {
    this.#tallies[result.disk]!.readBytes += result.readBytes;
  }

  results(): DiskResult[] {
    return this.#sources.map(({ name, prepared }, disk) => {
      const { changedBlocks, ...tally } = this.#tallies[disk]!;
      const changedBytes = changedBlocks * this.#blockSize;
      return { name, sizeBytes: prepared.sizeBytes, changedBytes, ...tally };
    });
  }
}
