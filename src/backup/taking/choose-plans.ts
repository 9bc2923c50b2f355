/** Decides for each disk whether its hint is used, after an audit, or all of it is compared. */
import type { Extent } from '#disk';
import { normaliseExtents } from '#disk';
import { HoldfastError, throwIfCancelled } from '#base';
import type { BackupSession } from '#repository';
import type { BackupRun, HintFailure } from './backup-run.ts';
import type { BackupSource } from './backup-source.ts';
import { auditBatches, cleanExtents } from './audit-plan.ts';
import type { BaseUnits, DiskPlan } from './disk-plan.ts';
import { JobQueue } from './job-queue.ts';
import { UNIT_BLOCKS, type AuditBatch, type HintMiss } from './unit-job.ts';

type HintedPlan = DiskPlan & { readonly dirty: readonly Extent[] };

/** A plan for each disk of the backup. */
export async function plansOf(run: BackupRun): Promise<DiskPlan[]> {
  const { sources } = run;
  const plans: DiskPlan[] = [];
  for (const [disk, source] of sources.entries()) plans.push(await planOf(run, disk, source));
  const audited = plans.filter(isHinted).filter(({ disk }) => !sources[disk]!.holdsHintOnly);
  const missed = await auditHints(run, audited);
  return plans.map((plan) => {
    const miss = missed.get(plan.disk);
    const source = sources[plan.disk]!;
    if (plan.dirty !== undefined && run.session.base(source.name) === undefined) {
      giveUpHint(run, source, { isWrong: false, reason: 'the point before cannot be read' });
      return { ...plan, dirty: undefined };
    }
    if (miss === undefined) return plan;
    const what = miss.isChanged
      ? 'it misses changes'
      : 'it cannot be checked, because the point before is damaged';
    const reason = `${what} (at ${miss.offset})`;
    giveUpHint(run, source, { isWrong: miss.isChanged, reason });
    return { ...plan, dirty: undefined };
  });
}

async function planOf(run: BackupRun, disk: number, source: BackupSource): Promise<DiskPlan> {
  const { session, request } = run;
  const { blockSize } = request.repository.state;
  const { name, data, prepared, hint } = source;
  const { sizeBytes } = prepared;
  const whole = { disk, blockSize, sizeBytes, data, dirty: undefined };
  if (hint === undefined) return whole;
  const base = session.base(name);
  if (base === undefined) {
    giveUpHint(run, source, { isWrong: false, reason: 'there is no point before to start from' });
    return whole;
  }
  if (await session.isBaseDamaged(name)) {
    const reason = 'the point before is damaged, and reading all of the disk heals it';
    giveUpHint(run, source, { isWrong: false, reason });
    return whole;
  }
  const moved = resizedExtents(base.disk.sizeBytes, { sizeBytes, blockSize });
  return { ...whole, dirty: normaliseExtents([...hint, ...moved]) };
}

/** @throws {HoldfastError} `HintUnusable` where nothing but what the hint names can be read. */
function giveUpHint(
  run: BackupRun,
  { name, holdsHintOnly }: BackupSource,
  failure: HintFailure,
): void {
  if (holdsHintOnly) {
    throw new HoldfastError(
      'HintUnusable',
      `what changed on ${name} is not enough (${failure.reason}): run again with all of the disk`,
      { details: { disk: name } },
    );
  }
  run.hintFailures.set(name, failure);
  run.request.warn?.(
    `the hint for ${name} is not used and the whole disk is compared: ${failure.reason}`,
  );
}

/** What must be compared because the disk's end moved: the unit it was or is in, and all beyond. */
function resizedExtents(
  beforeBytes: number,
  { sizeBytes, blockSize }: { readonly sizeBytes: number; readonly blockSize: number },
): Extent[] {
  if (beforeBytes === sizeBytes) return [];
  const unitBytes = UNIT_BLOCKS * blockSize;
  const offset = Math.floor(Math.min(beforeBytes, sizeBytes) / unitBytes) * unitBytes;
  // To the unit's end: of a disk that shrank, blocks past its end must go.
  const end = Math.ceil(sizeBytes / unitBytes) * unitBytes;
  return [{ offset, length: end - offset }];
}

/**
 * The ids of the disk's units in the point before. Where they turn out unreadable the damage is logged and
 * all threads avoid it from then on, so that pages beside them are stored anew.
 */
export function baseUnitsOf(run: BackupRun, disk: number): BaseUnits {
  const { session, sources } = run;
  const { name } = sources[disk]!;
  return async (range) => {
    const before = session.base(name);
    const ids = await session.baseUnits(name, range);
    if (before !== undefined && session.base(name) === undefined) await avoidDamage(run);
    return ids;
  };
}

async function avoidDamage({ crew, request: { repository } }: BackupRun): Promise<void> {
  await repository.logDamage();
  for (const [pack, frames] of repository.state.damage) {
    crew.avoid(Array.from(frames, (frame) => ({ pack, frame })));
  }
}

/** Audits the hints of all plans. @returns by disk, where a hint cannot be believed. */
async function auditHints(
  run: BackupRun,
  plans: readonly HintedPlan[],
): Promise<Map<number, HintMiss>> {
  const { crew, request, results } = run;
  const missed = new Map<number, HintMiss>();
  if (plans.length === 0) return missed;
  const { random } = request.repository.parts;
  const batches: AsyncGenerator<AuditBatch>[] = [];
  for (const plan of plans) {
    const { disk, blockSize } = plan;
    const last = await lastCleanBlock(run, plan);
    if (last === undefined || last.isReadable) {
      const baseUnits = baseUnitsOf(run, disk);
      batches.push(auditBatches(plan, { baseUnits, lastBlock: last?.block, random }));
    } else {
      missed.set(disk, { offset: last.block * blockSize, isChanged: false });
    }
  }
  const queue = new JobQueue(batches);
  await crew.audit({
    next: async () => {
      throwIfCancelled(request.signal);
      for (;;) {
        const batch = await queue.next();
        if (batch === undefined || !missed.has(batch.disk)) return batch;
      }
    },
    take: (result) => {
      results.takeAudit(result);
      if (result.miss !== undefined) missed.set(result.disk, result.miss);
    },
  });
  return missed;
}

/** The last block of the point before that is not zero and that the hint calls unchanged. */
async function lastCleanBlock(
  run: BackupRun,
  plan: HintedPlan,
): ReturnType<BackupSession['lastBaseBlock']> {
  const { session, sources } = run;
  const { blockSize } = plan;
  const within = cleanExtents(plan).map(({ offset, length }) => ({
    fromBlock: offset / blockSize,
    toBlock: (offset + length) / blockSize,
  }));
  const last = await session.lastBaseBlock(sources[plan.disk]!.name, within);
  if (last?.isReadable === false) await avoidDamage(run);
  return last;
}

function isHinted(plan: DiskPlan): plan is HintedPlan {
  return plan.dirty !== undefined;
}
