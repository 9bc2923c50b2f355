/**
 * The time in which a guest is frozen, as short as can be, and its end whatever happens.
 *
 * ```
 *   freeze ──reply──► frozen ──instant over, failed, or host watchdog──► thaw, again until answered
 *     │ refused: nothing is frozen                                          │ not before the guest's own
 *     └ no reply: thaw, as if frozen                                        ▼ watchdog has passed: reported
 * ```
 *
 * The instant counts as frozen only if nobody thawed before its end: the host's watchdog did not fire, the
 * guest's could not have, and the thaw found as many frozen file systems as the freeze left.
 */
import { isHoldfastError, type Clock, type HoldfastError, pause } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';

/** The host thaws before the guest must: the agent then knows of it. */
const HOST_SHARE = 2 / 3;
const THAW_ANSWER_MS = 5_000;
const THAW_AGAIN_MS = 500;
/** After the guest's own watchdog must have fired. */
const MARGIN_MS = 5_000;

export type FreezeAccess = {
  readonly agent: GuestAgent;
  readonly clock: Clock;
  /** The guest thaws by itself this long after `watchdogBegunMs` (monotonic). */
  readonly watchdogMs: number;
  readonly watchdogBegunMs: number;
  /** For the freeze itself. */
  readonly freezeTimeoutMs: number;
  /** Aborted: the guest is thawed at once, whatever the instant still does. */
  readonly signal?: AbortSignal | undefined;
};

export type Frozen =
  | { readonly kind: 'frozen'; readonly count: number; readonly atMs: number }
  /** The agent said no: nothing is frozen. */
  | { readonly kind: 'refused'; readonly error: HoldfastError }
  /** The agent did not answer; the guest has been thawed since, or its watchdog's time has passed. */
  | { readonly kind: 'silent'; readonly error: HoldfastError; readonly thaw: Thaw };

export type Thaw =
  | {
      readonly kind: 'thawed';
      /** How many were frozen until the thaw. */
      readonly count: number;
      readonly begunMs: number;
      readonly atMs: number;
      /** An earlier try got no answer, so `count` may be that of a second thaw. */
      readonly hadSilence: boolean;
      /** What the agent complained of before it thawed. */
      readonly complaint: string | undefined;
    }
  | { readonly kind: 'unconfirmed'; readonly begunMs: number; readonly error: HoldfastError };

export type Held<R> = {
  readonly instant: { readonly result: R } | { readonly failure: unknown };
  readonly thaw: Thaw;
  readonly frozenMs: number | undefined;
  /** Why the instant was not frozen to its end; undefined: it was. */
  readonly broken: string | undefined;
};

export async function freezeGuest(access: FreezeAccess): Promise<Frozen> {
  const { agent, clock } = access;
  try {
    const count = await agent.freeze({ timeoutMs: access.freezeTimeoutMs });
    return { kind: 'frozen', count, atMs: clock.monotonicMs() };
  } catch (error) {
    if (isHoldfastError(error, 'AgentUnavailable')) {
      return { kind: 'silent', error, thaw: await thawGuest(access) };
    }
    if (!isHoldfastError(error, 'AgentFailed')) throw error;
    await thawAfterRefusal(access);
    return { kind: 'refused', error };
  }
}

/** The agent thaws what it had frozen when it fails: a thaw more is safe, and may be refused as the freeze was. */
async function thawAfterRefusal(access: FreezeAccess): Promise<void> {
  try {
    await access.agent.thaw(THAW_ANSWER_MS);
  } catch (error) {
    if (isHoldfastError(error, 'AgentUnavailable')) await thawGuest(access);
    else if (!isHoldfastError(error, 'AgentFailed')) throw error;
  }
}

/** Runs the instant in a frozen guest and thaws. Never throws what `atInstant` throws: it is in the result. */
export async function holdFrozen<R>(
  access: FreezeAccess,
  frozen: { readonly count: number; readonly atMs: number },
  atInstant: () => Promise<R>,
): Promise<Held<R>> {
  const { clock } = access;
  const watchdog = startHostWatchdog(access);
  const instant = await settled(atInstant);
  const instantEndMs = clock.monotonicMs();
  const early = await watchdog.stop();
  const thaw = early ?? (await thawGuest(access));
  return {
    instant,
    thaw,
    frozenMs: thaw.kind === 'thawed' ? Math.max(0, thaw.atMs - frozen.atMs) : undefined,
    broken: brokenBy({ access, frozen, thaw, instantEndMs, hostFired: early !== undefined }),
  };
}

/** Until the agent confirms it, at least until the guest's own watchdog has passed. */
export async function thawGuest(access: FreezeAccess): Promise<Thaw> {
  const { agent, clock } = access;
  const deadlineMs = access.watchdogBegunMs + access.watchdogMs + MARGIN_MS;
  const begunMs = clock.monotonicMs();
  let hadSilence = false;
  let complaint: string | undefined;
  for (;;) {
    try {
      const count = await agent.thaw(THAW_ANSWER_MS);
      const atMs = clock.monotonicMs();
      return { kind: 'thawed', count, begunMs, atMs, hadSilence, complaint };
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      hadSilence ||= error.code === 'AgentUnavailable';
      if (error.code === 'AgentFailed') complaint = error.message;
      if (clock.monotonicMs() >= deadlineMs) return { kind: 'unconfirmed', begunMs, error };
    }
    await clock.sleep(THAW_AGAIN_MS);
  }
}

function startHostWatchdog(access: FreezeAccess): { stop: () => Promise<Thaw | undefined> } {
  const ended = new AbortController();
  const watch = async (): Promise<Thaw | undefined> => {
    const leftMs =
      access.watchdogBegunMs + access.watchdogMs * HOST_SHARE - access.clock.monotonicMs();
    const cancelled = access.signal === undefined ? [] : [access.signal];
    const woken = AbortSignal.any([ended.signal, ...cancelled]);
    await pause(access.clock, Math.max(0, leftMs), woken);
    return ended.signal.aborted ? undefined : await thawGuest(access);
  };
  const watching = watch();
  return {
    stop: async () => {
      ended.abort(new Error('the instant is over'));
      return await watching;
    },
  };
}

async function settled<R>(
  atInstant: () => Promise<R>,
): Promise<{ readonly result: R } | { readonly failure: unknown }> {
  try {
    return { result: await atInstant() };
  } catch (failure) {
    return { failure };
  }
}

function brokenBy(facts: {
  readonly access: FreezeAccess;
  readonly frozen: { readonly count: number };
  readonly thaw: Thaw;
  readonly instantEndMs: number;
  readonly hostFired: boolean;
}): string | undefined {
  const { access, frozen, thaw } = facts;
  const tookMs = facts.instantEndMs - access.watchdogBegunMs;
  if (facts.hostFired && access.signal?.aborted === true) return 'the job was cancelled';
  if (facts.hostFired) return `the snapshot took so long that Holdfast's watchdog thawed the guest`;
  if (tookMs >= access.watchdogMs) {
    return `the snapshot was there only after ${Math.round(tookMs / 1000)} s: the guest's watchdog thaws after ${access.watchdogMs / 1000} s`;
  }
  if (thaw.kind === 'thawed' && !thaw.hadSilence && thaw.count < frozen.count) {
    return `somebody thawed the guest before the snapshot was there: ${thaw.count} of ${frozen.count} file systems were still frozen`;
  }
  return undefined;
}
