/**
 * How far the wall clock may be trusted. Dates are of that clock, and what a wrong one removes is gone: where it is
 * further ahead than the time that has passed, nothing expires or is purged by itself for a day, in which somebody can
 * put it right.
 *
 * ```
 *   trusted ──ahead by more than 6 h, in one leap or many──► resting ──a day──► trusted: the clock was right
 *      ▲  ▲                                                   │   │ ahead by 6 h more: the day begins anew
 *      │  └──────────── put right, to within 6 h ─────────────┘   │
 *      └── set back by more than 6 h ◄────────────────────────────┘
 * ```
 * What has passed is told by the machine's uptime, its sleep included, also while the service did not run. Not after the
 * machine was started anew: then up to three days by the wall clock are believed, and more is a leap as well as a
 * machine that was off.
 */
const HOUR_MS = 60 * 60 * 1000;
const LEAP_MS = 6 * HOUR_MS;
const REST_MS = 24 * HOUR_MS;
const BELIEVED_MS = 72 * HOUR_MS;

/** The machine's own time. */
export type MachineTime = {
  /** Another one after each start of the machine; undefined: not known. */
  readonly bootId: string | undefined;
  /** Since its start, its sleep included; it does not leap. */
  readonly upMs: () => number;
};

export type Instant = {
  readonly wallMs: number;
  readonly upMs: number;
  readonly bootId?: string | undefined;
};

/** What is known at an instant. */
export type ClockTrust = Instant & {
  /** How far the clock is ahead of what has passed since it was trusted. */
  readonly leapMs: number;
  readonly rest?: Rest | undefined;
};

type Rest = {
  readonly leftMs: number;
  /** How far the clock was ahead when it began. */
  readonly leapMs: number;
  /** It began with a start of the machine, which may have been off for so long. */
  readonly wasOff: boolean;
};

export function trusted(now: Instant): ClockTrust {
  return { ...now, leapMs: 0 };
}

export function trustAt(before: ClockTrust, now: Instant): ClockTrust {
  const known = passedSince(before, now);
  const wallMs = now.wallMs - before.wallMs;
  const passedMs = known ?? believed(before.leapMs, wallMs);
  const leapMs = before.leapMs + wallMs - passedMs;
  if (leapMs < -LEAP_MS) return trusted(now);
  if (leapMs <= LEAP_MS) return { ...now, leapMs };
  const { rest } = before;
  if (rest === undefined || leapMs - rest.leapMs > LEAP_MS) {
    return { ...now, leapMs, rest: { leftMs: REST_MS, leapMs, wasOff: known === undefined } };
  }
  const leftMs = rest.leftMs - passedMs;
  return leftMs > 0 ? { ...now, leapMs, rest: { ...rest, leftMs } } : trusted(now);
}

/** Undefined: the machine was started between. */
function passedSince(before: Instant, now: Instant): number | undefined {
  const isSame = now.bootId !== undefined && now.bootId === before.bootId;
  return isSame && now.upMs >= before.upMs ? now.upMs - before.upMs : undefined;
}

/** How long a machine that was started anew was off: what its clock tells, also where that was put right meanwhile. */
function believed(leapMs: number, wallMs: number): number {
  const told = wallMs < 0 ? Math.max(0, leapMs + wallMs) : wallMs;
  return told <= BELIEVED_MS ? told : 0;
}
