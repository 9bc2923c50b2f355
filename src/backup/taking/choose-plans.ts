/** Decides for each disk whether its hint is used, until an audit says otherwise, or all of it is compared. */
import type { Extent } from '#disk';
import { normaliseExtents } from '#disk';
import { HoldfastError } from '#base';
import type { BackupRun, HintFailure } from './backup-run.ts';
import type { BackupSource } from './backup-source.ts';
import type { BaseUnits, DiskPlan } from './disk-plan.ts';
import { UNIT_BLOCKS } from './unit-job.ts';

/** A plan for each disk of the backup. */
export async function plansOf(run: BackupRun): Promise<DiskPlan[]> {
  const { sources } = run;
  const plans: DiskPlan[] = [];
  for (const [disk, source] of sources.entries()) plans.push(await planOf(run, disk, source));
  return plans;
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

/**
 * Takes note that all of the disk is compared.
 *
 * @throws {HoldfastError} `HintUnusable` where nothing but what the hint names can be read.
 */
export function giveUpHint(
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

/** Logs what was found damaged; from now on no thread relies on it. */
export async function avoidDamage({ crew, request: { repository } }: BackupRun): Promise<void> {
  await repository.logDamage();
  for (const [pack, frames] of repository.state.damage) {
    crew.avoid(Array.from(frames, (frame) => ({ pack, frame })));
  }
}
