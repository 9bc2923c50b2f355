/**
 * R44: above a limit of load in the guest a snapshot waits, and fails when its time is up.
 *
 * ```
 *   look at all guests ─► none is above the limit ─────────────────────────► snapshot
 *      ▲     └─ one is: wait, holding nothing in any of them ─► time is up: ExtensionFailedTimeoutGuestBusy
 *      └────────────┘
 * ```
 * Whoever does not run, or does not tell its load, is not waited for. Several VMs are looked at together: all of them
 * must be below at one look, so that none that has been quiet for long is found busy by the snapshot.
 */
import {
  HoldfastError,
  isHoldfastError,
  pause,
  throwIfCancelled,
  type Clock,
  type ProgressListener,
} from '#base';
import { guestLoad, type GuestLoad, type Hypervisor, type QuiesceStep } from '#hypervisor';

export type GuestLoadLimit = {
  /** From 0 to 1; a guest with more than this of its CPUs or of its memory in use is waited for. */
  readonly mostShare: number;
  /** In all; 0: it is looked once. */
  readonly waitMs: number;
};

export type GuestToWaitFor = {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  /** What people are told. */
  readonly name: string;
};

export type LoadLook = {
  /** Of each VM that runs. */
  readonly steps: readonly { readonly name: string; readonly step: QuiesceStep }[];
  /** What is in use in those above the limit, in words. */
  readonly busy: readonly string[];
};

const LOOK_AGAIN_MS = 15_000;

/**
 * Looks until no guest is above the limit.
 *
 * @param look each time as the guests are then.
 * @returns the last look.
 * @throws {HoldfastError} `ExtensionFailedTimeoutGuestBusy` when the time is up; `Cancelled`; what `look` throws.
 */
export async function awaitGuests(
  look: () => Promise<LoadLook>,
  wait: {
    readonly limit: GuestLoadLimit;
    /** Of its time, what was waited before. */
    readonly waitedMs?: number;
    readonly clock: Clock;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ProgressListener | undefined;
  },
): Promise<LoadLook> {
  const { limit, waitedMs = 0, clock, signal } = wait;
  const begunMs = clock.monotonicMs() - waitedMs;
  for (;;) {
    throwIfCancelled(signal);
    const seen = await look();
    throwIfCancelled(signal);
    if (seen.busy.length === 0) return seen;
    const leftMs = begunMs + limit.waitMs - clock.monotonicMs();
    const busy = `${seen.busy.join('; ')} (limit ${percent(limit.mostShare)})`;
    if (leftMs <= 0) throw tooBusy(busy, limit);
    const phase = `waiting, for ${span(leftMs)} at most, until the guest is less busy: ${busy}`;
    wait.onProgress?.({ phase, doneBytes: 0 });
    await pause(clock, Math.min(LOOK_AGAIN_MS, leftMs), signal);
  }
}

function tooBusy(busy: string, { waitMs }: GuestLoadLimit): HoldfastError {
  const long = waitMs > 0 ? ` for ${span(waitMs)}` : '';
  return new HoldfastError(
    'ExtensionFailedTimeoutGuestBusy',
    `No snapshot was taken, as the guest was too busy${long}: ${busy}. Back it up at a time when it has less to do, ` +
      'give it more CPUs or memory, or raise the limit.',
  );
}

/**
 * Looks once at each. Takes about a second, with Windows guests some.
 *
 * @throws {HoldfastError} as `Hypervisor.find`; `Cancelled`. Not because of a guest.
 */
export async function lookAtLoads(
  guests: readonly GuestToWaitFor[],
  by: {
    readonly mostShare: number;
    readonly clock: Clock;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<LoadLook> {
  const looks = await Promise.allSettled(guests.map(async (guest) => lookAt(guest, by)));
  const seen = looks.flatMap((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value ?? [];
  });
  return {
    steps: seen.map(({ name, step }) => ({ name, step })),
    busy: seen.flatMap(({ name, step, isBusy }) => (isBusy ? [`${name}: ${step.message}`] : [])),
  };
}

async function lookAt(
  { hypervisor, vm, name }: GuestToWaitFor,
  { mostShare, clock, signal }: Parameters<typeof lookAtLoads>[1],
) {
  const begunMs = clock.monotonicMs();
  if ((await hypervisor.find(vm)).state !== 'running') return undefined;
  const seen = await loadOf(hypervisor, vm, { clock, signal });
  const { load } = seen;
  const step: QuiesceStep = {
    name: 'Guest load',
    outcome: load === undefined ? 'skipped' : 'succeeded',
    message:
      load === undefined
        ? `the guest's load is not known, so it is not waited for: ${seen.why}`
        : inWords(load),
    durationMs: clock.monotonicMs() - begunMs,
  };
  const isAbove = (share: number | undefined): boolean => share !== undefined && share > mostShare;
  return { name, step, isBusy: isAbove(load?.cpu) || isAbove(load?.memory) };
}

type Seen =
  | { readonly load: GuestLoad }
  | { readonly load: undefined; /** It is not known. */ readonly why: string };

async function loadOf(
  hypervisor: Hypervisor,
  vm: string,
  question: Parameters<typeof guestLoad>[1],
): Promise<Seen> {
  const channel = await hypervisor.agent(vm);
  if (channel === undefined) return unknown('the VM has no channel to a guest agent');
  try {
    const load = await guestLoad(channel, question);
    const isKnown = load.cpu !== undefined || load.memory !== undefined;
    return isKnown ? { load } : unknown('its guest agent may neither read files nor run programs');
  } catch (error) {
    if (isHoldfastError(error, 'AgentUnavailable') || isHoldfastError(error, 'AgentFailed')) {
      return unknown(error.message);
    }
    throw error;
  } finally {
    await channel.close();
  }
}

function unknown(why: string): Seen {
  return { load: undefined, why };
}

function inWords({ cpu, memory }: GuestLoad): string {
  const used = (share: number | undefined): string =>
    share === undefined ? 'an unknown share' : percent(share);
  return `${used(cpu)} of its CPU and ${used(memory)} of its memory in use`;
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

function span(ms: number): string {
  return ms < 120_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.ceil(ms / 60_000)} min`;
}
