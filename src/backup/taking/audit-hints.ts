/**
 * The audit of hints, beside the backup of what they name:
 *
 * ```
 *   units that the hint names ─┬─► all went well: the rest is as in the point before
 *   audit of the others ───────┴─► a miss, of one disk: its other units are not begun, and
 *                                   when all is worked off, all of the disk is compared: its map anew
 * ```
 *
 * No point is committed before the audits of all its disks have ended.
 */
import type { Extent } from '#disk';
import type { BackupSession } from '#repository';
import { auditBatches, cleanExtents } from './audit-plan.ts';
import type { BackupRun } from './backup-run.ts';
import { avoidDamage, baseUnitsOf, giveUpHint } from './choose-plans.ts';
import type { DiskPlan } from './disk-plan.ts';
import type { AuditBatch, AuditBatchResult, HintMiss } from './unit-job.ts';

type HintedPlan = DiskPlan & { readonly dirty: readonly Extent[] };

export class HintAudits {
  readonly #run: BackupRun;
  readonly #plans: readonly HintedPlan[];
  readonly #missed = new Map<number, HintMiss>();

  constructor(run: BackupRun, plans: readonly DiskPlan[]) {
    this.#run = run;
    this.#plans = plans.filter(isHinted);
  }

  /** What is to be looked at, by disk; of a disk that holds only what its hint names, nothing can be. */
  batches(): AsyncGenerator<AuditBatch>[] {
    return this.#plans
      .filter(({ disk }) => !this.#run.sources[disk]!.holdsHintOnly)
      .map((plan) => this.#batchesOf(plan));
  }

  readonly take = (result: AuditBatchResult): void => {
    this.#run.results.takeAudit(result);
    if (result.miss !== undefined) this.#missed.set(result.disk, result.miss);
  };

  /** Whether work on the disk by its hint is in vain. */
  isMissed(disk: number): boolean {
    return this.#missed.has(disk);
  }

  /**
   * When all is worked off: the plans of the disks whose hints cannot be believed, which are compared as a whole.
   *
   * @throws {HoldfastError} `HintUnusable`, as `giveUpHint`.
   */
  comparisons(): DiskPlan[] {
    return this.#plans.flatMap((plan) => {
      const source = this.#run.sources[plan.disk]!;
      const miss = this.#missed.get(plan.disk);
      if (this.#run.session.base(source.name) === undefined) {
        const reason = 'the point before cannot be read';
        giveUpHint(this.#run, source, { isWrong: false, reason });
      } else if (miss !== undefined) {
        const what = miss.isChanged
          ? 'it misses changes'
          : 'it cannot be checked, because the point before is damaged';
        const reason = `${what} (at ${miss.offset})`;
        giveUpHint(this.#run, source, { isWrong: miss.isChanged, reason });
      } else {
        return [];
      }
      return [{ ...plan, dirty: undefined }];
    });
  }

  async *#batchesOf(plan: HintedPlan): AsyncGenerator<AuditBatch> {
    const { disk, blockSize } = plan;
    const last = await this.#lastCleanBlock(plan);
    if (last?.isReadable === false) {
      this.#missed.set(disk, { offset: last.block * blockSize, isChanged: false });
      return;
    }
    const { random } = this.#run.request.repository.parts;
    const baseUnits = baseUnitsOf(this.#run, disk);
    const { auditsAll } = this.#run.sources[disk]!;
    yield* auditBatches(plan, { baseUnits, lastBlock: last?.block, random, auditsAll });
  }

  /** The last block of the point before that is not zero and that the hint calls unchanged. */
  async #lastCleanBlock(plan: HintedPlan): ReturnType<BackupSession['lastBaseBlock']> {
    const { session, sources } = this.#run;
    const { blockSize } = plan;
    const within = cleanExtents(plan).map(({ offset, length }) => ({
      fromBlock: offset / blockSize,
      toBlock: (offset + length) / blockSize,
    }));
    const last = await session.lastBaseBlock(sources[plan.disk]!.name, within);
    if (last?.isReadable === false) await avoidDamage(this.#run);
    return last;
  }
}

function isHinted(plan: DiskPlan): plan is HintedPlan {
  return plan.dirty !== undefined;
}
