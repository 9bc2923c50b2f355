/**
 * The work of an Expire job (M31): the points that the plan removes expire in the repository, then documents and
 * catalogue follow.
 *
 * ```
 *   turn of the vault ─► plan ─► figures noted in the job's row ─► one log entry ─► documents ─► catalogue
 * ```
 * Before it, days that have ended are read (decision 0012): they are charged with what is about to go.
 * Nothing that a user does to a policy, an item or a point comes between. Run again after a kill: points that are
 * noted and gone were removed by that try, whose figures count; what is still there is planned anew.
 */
import { z } from 'zod';
import { throwIfCancelled } from '#base';
import { expirePoints, planExpiry } from '#backup';
import { readChargesBefore } from '../charges/read-charges.ts';
import { forgettingPoints } from '../items/forget-points.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { changeVault } from '../repositories/change-vault.ts';
import { freeingSpace } from '../repositories/freeing-space.ts';
import type { ServiceParts } from '../service-parts.ts';
import { expirablePoints, type ExpirablePoint } from './expirable-points.ts';

const TASK = 'Expire recovery points';
/** In one turn of the vault. */
const AT_ONCE = 500;

const FIGURES = z.strictObject({
  pointCount: z.number(),
  mergedBlocks: z.number(),
  deletedBlocks: z.number(),
  freedBytes: z.number(),
});

const REQUEST = z.strictObject({
  /** Absent: of all items. */
  itemId: z.string().optional(),
  /** Only points that were deleted by hand; absent: all that the plan removes. */
  isByHand: z.literal(true).optional(),
  /** Only these of them. */
  only: z.array(z.string()).optional(),
  /** Of what is done. */
  done: FIGURES.optional(),
  /** What is about to be done, and what it does. */
  noted: FIGURES.extend({
    points: z.array(z.strictObject({ item: z.string(), point: z.string() })),
  }).optional(),
});

export type ExpireRequest = Readonly<z.infer<typeof REQUEST>>;
type Figures = Readonly<z.infer<typeof FIGURES>>;

const NOTHING: Figures = { pointCount: 0, mergedBlocks: 0, deletedBlocks: 0, freedBytes: 0 };

export function expireWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: true,
    run: async (run) => {
      await run.task({ name: TASK, status: 'InProgress', startedAt: parts.clock.nowMs() });
      let request: ExpireRequest = REQUEST.parse(JSON.parse(run.job.request));
      request = await takeUp({ parts, run }, request);
      for (;;) {
        throwIfCancelled(run.signal);
        if (await rests({ parts, run })) break;
        await readChargesBefore(parts, run.job.vaultId);
        const next = await expireSome({ parts, run }, request);
        request = next.request;
        if (next.isDone) break;
      }
      told(run, request.done ?? NOTHING);
      await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
    },
  };
}

type Running = { readonly parts: ServiceParts; readonly run: JobRun };

/** Nobody asked for it, and the clock may be wrong: the next look comes when it is trusted again. */
async function rests({ parts, run }: Running): Promise<boolean> {
  if (run.job.isUserTriggered === 1 || !(await parts.clockRest.rests())) return false;
  run.property('Not removed', 'The clock leapt ahead: nothing expires by itself for a day.');
  return true;
}

/** What an earlier try removed and did not record. */
async function takeUp({ parts, run }: Running, request: ExpireRequest): Promise<ExpireRequest> {
  const { noted, ...rest } = request;
  if (noted === undefined) return request;
  const { vaultId } = run.job;
  return await changeVault(parts, vaultId, async () => {
    const gone = await freeingSpace(parts, vaultId, async ({ state }) =>
      noted.points.filter(({ point }) => state.points.get(point)?.visible !== true),
    );
    // One log entry: all of them went, or none did.
    const taken = gone.length === 0 ? rest : { ...rest, done: sum(rest.done ?? NOTHING, noted) };
    const { documents, apply } = await forgettingPoints(parts, gone);
    return {
      documents,
      apply: async (change) => {
        await apply(change);
        await noteRequest(change, run, taken);
        return taken;
      },
    };
  });
}

/** @returns `isDone`: nothing is left of what the plan removes. */
async function expireSome(
  { parts, run }: Running,
  request: ExpireRequest,
): Promise<{ readonly request: ExpireRequest; readonly isDone: boolean }> {
  const { vaultId } = run.job;
  const { noted: _, ...rest } = request;
  return await changeVault(parts, vaultId, async () => {
    const { itemId, isByHand, only } = request;
    const of = { now: parts.clock.nowMs(), itemId, isByHand };
    const expirable = await expirablePoints(parts.catalogue.read, vaultId, of);
    const all =
      only === undefined ? expirable : expirable.filter(({ point }) => only.includes(point));
    const chosen = all.slice(0, AT_ONCE);
    const isDone = chosen.length === all.length;
    if (chosen.length === 0) return { documents: [], apply: async () => ({ request, isDone }) };
    const figures = await expireInRepository({ parts, run }, rest, chosen);
    const next = { ...rest, done: sum(rest.done ?? NOTHING, figures) };
    const { documents, apply } = await forgettingPoints(parts, chosen);
    return {
      documents,
      apply: async (change) => {
        await apply(change);
        await noteRequest(change, run, next);
        return { request: next, isDone };
      },
    };
  });
}

/** Points that are no more in the repository, of `holdfast repo`, are done. */
async function expireInRepository(
  { parts, run }: Running,
  request: ExpireRequest,
  chosen: readonly ExpirablePoint[],
): Promise<Figures> {
  return await freeingSpace(parts, run.job.vaultId, async (repository) => {
    const { state } = repository;
    const points = chosen.filter(({ point }) => state.points.get(point)?.visible === true);
    const ids = points.map(({ point }) => point);
    if (ids.length === 0) return NOTHING;
    const noted = { ...figuresOf(await planExpiry(repository.parts, ids)), points: [...points] };
    await parts.catalogue.change(async (change) => noteRequest(change, run, { ...request, noted }));
    return figuresOf(await expirePoints(repository.parts, ids));
  });
}

function figuresOf(of: Awaited<ReturnType<typeof planExpiry>>): Figures {
  const { points, mergedBlocks, deletedBlocks, freedBytes } = of;
  return { pointCount: points.length, mergedBlocks, deletedBlocks, freedBytes };
}

function sum(a: Figures, b: Figures): Figures {
  return {
    pointCount: a.pointCount + b.pointCount,
    mergedBlocks: a.mergedBlocks + b.mergedBlocks,
    deletedBlocks: a.deletedBlocks + b.deletedBlocks,
    freedBytes: a.freedBytes + b.freedBytes,
  };
}

type Change = Parameters<Parameters<ServiceParts['catalogue']['change']>[0]>[0];

async function noteRequest(change: Change, run: JobRun, request: ExpireRequest): Promise<void> {
  const row = { request: JSON.stringify(request) };
  await change.updateTable('jobs').set(row).where('id', '=', run.job.id).execute();
}

function told(run: JobRun, { pointCount, mergedBlocks, deletedBlocks, freedBytes }: Figures): void {
  run.property('Recovery points removed', String(pointCount));
  run.property('Blocks merged', String(mergedBlocks));
  run.property('Blocks deleted', String(deletedBlocks));
  run.property('Bytes freed', String(freedBytes));
}
