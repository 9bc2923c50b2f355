/** What both kinds of guests need while they are quiesced, what comes out, and the steps that they share. */
import { isHoldfastError, type Clock } from '#base';
import { ensureExtension, type InstalledExtension } from '../extension/extension.ts';
import type { Held, Thaw } from './freeze-window.ts';
import type { GuestContact } from './guest-contact.ts';
import type { Later } from './later.ts';
import type { GuestAgent } from '../agent/guest-agent.ts';
import type { Consistency, QuiesceStep } from '../quiesce.ts';
import type { Vm } from '../vm.ts';
import type { AgentChannel } from '../agent/agent-channel.ts';
import type { StepLog } from './step-log.ts';

export type QuiesceOptions<R> = {
  readonly vm: Pick<Vm, 'name' | 'state' | 'disks'>;
  /** Undefined: the VM has none. Stays the caller's to close. */
  readonly channel: AgentChannel | undefined;
  /** Begun through `channel` a moment ago; absent: the guest is asked now. */
  readonly contact?: GuestContact | undefined;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  /** Told of every failed step. */
  readonly warn: (message: string) => void;
  /** Waited for before the guest's watchdog starts and it is frozen; not where it will not be frozen. */
  readonly beforeFreeze?: () => Promise<void>;
  /** Told of each step as it ends, also where the whole then fails. */
  readonly onStep?: (step: QuiesceStep) => void;
  /** Undoes what `atInstant` made, where the job must fail after it (a post-script, with no leave to go on). */
  readonly discard: (result: R) => Promise<void>;
  /** After this long the guest thaws by itself, whatever happens. 30 s: what applications bear. */
  readonly watchdogSeconds?: number;
};

/** In an instant of the wanted kind; `failure` where `atInstant` itself failed. */
export type Outcome<R> = {
  readonly instant: { readonly result: R } | { readonly failure: unknown };
  readonly consistency: Consistency;
  readonly frozenMs: number | undefined;
};

export type QuiesceRun<R> = {
  readonly options: QuiesceOptions<R>;
  readonly agent: GuestAgent;
  readonly log: StepLog;
  /** What is still to be done in the guest when the instant is over, and nobody has to wait for. */
  readonly later: Later;
  /** The extension that the first look found whole. */
  readonly extension: InstalledExtension | undefined;
  readonly watchdogMs: number;
  readonly atInstant: () => Promise<R>;
};

export const AGENT_SILENT = 'UserErrorGuestAgentStatusUnavailable';
export const EXTENSION_FAILED = 'ExtensionOperationFailedForManagedDisks';
/** The agent answered before, and not when the snapshot was under way. */
export const SNAPSHOT_SILENT = 'GuestAgentSnapshotTaskStatusError';

/** The instant in a guest that is left to itself. */
export async function crashConsistent<R>(atInstant: () => Promise<R>): Promise<Outcome<R>> {
  try {
    const result = await atInstant();
    return { instant: { result }, consistency: 'CrashConsistent', frozenMs: undefined };
  } catch (failure) {
    return { instant: { failure }, consistency: 'CrashConsistent', frozenMs: undefined };
  }
}

/** Runs `work`; what the agent does not answer or refuses becomes a failed step, and `undefined`. */
export async function attempt<R, T>(
  run: QuiesceRun<R>,
  step: {
    readonly name: string;
    readonly refusedCode: string;
    /** What to do about an agent that does not answer. */
    readonly silentAdvice?: string;
    /** Where it began before now. */
    readonly begunMs?: number;
  },
  work: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const begunMs = step.begunMs ?? run.log.begin();
  try {
    return { value: await work() };
  } catch (error) {
    if (isHoldfastError(error, 'AgentUnavailable')) {
      const advice = step.silentAdvice === undefined ? '' : `; ${step.silentAdvice}`;
      const message = `${error.message}${advice}`;
      run.log.failed(step.name, begunMs, { code: AGENT_SILENT, message });
    } else if (isHoldfastError(error, 'AgentFailed')) {
      run.log.failed(step.name, begunMs, { code: step.refusedCode, message: error.message });
    } else {
      throw error;
    }
    return undefined;
  }
}

export async function installExtension<R>(
  run: QuiesceRun<R>,
): Promise<InstalledExtension | undefined> {
  const { agent, log, options } = run;
  const begunMs = log.begin();
  const ensured = await attempt(
    run,
    { name: 'Install extension', refusedCode: EXTENSION_FAILED },
    async () =>
      run.extension === undefined
        ? await ensureExtension(agent, options.clock)
        : { extension: run.extension, change: undefined },
  );
  if (ensured === undefined) return undefined;
  const { extension, change } = ensured.value;
  const message = `${extension.name} ${extension.version}: ${change ?? 'is installed'}`;
  log.succeeded('Install extension', begunMs, message);
  return extension;
}

export function reportThaw<R>(run: QuiesceRun<R>, thaw: Thaw, frozenMs: number | undefined): void {
  const { log } = run;
  if (thaw.kind === 'thawed') {
    const time = frozenMs === undefined ? '' : ` after ${Math.round(frozenMs)} ms`;
    const message = `the guest was thawed${time}`;
    log.end('Thaw', thaw.begunMs, { outcome: 'succeeded', message, endedMs: thaw.atMs });
    return;
  }
  const message =
    `the guest agent did not confirm the thaw: ${thaw.error.message}. The guest's own watchdog ` +
    'should have thawed it by now: make sure that the guest can write.';
  log.failed('Thaw', thaw.begunMs, { code: SNAPSHOT_SILENT, message });
}

/** What the freeze was good for. */
export function heldOutcome<R>(run: QuiesceRun<R>, held: Held<R>): Outcome<R> {
  const { instant, frozenMs, broken } = held;
  if (broken === undefined) return { instant, frozenMs, consistency: 'FileSystemConsistent' };
  const message = `${broken}: the point is crash-consistent`;
  run.log.failed('Frozen snapshot', run.log.begin(), { code: SNAPSHOT_SILENT, message });
  return { instant, frozenMs, consistency: 'CrashConsistent' };
}
