/**
 * Quiesces a guest around one instant and says how consistent the instant is (rules 5.8, R46–R51):
 *
 * ```
 *   VM off ─────────────────────────────────────────────► crash-consistent, the guest is not asked
 *   no agent, no answer, no extension ──────────────────► crash-consistent, with the code in the step
 *   Windows: VSS, all writers well ─────────────────────► application-consistent (windows-quiesce.ts)
 *   Linux: pre-script → freeze → instant → thaw → post ─► as the scripts and the freeze went (linux-quiesce.ts)
 * ```
 *
 * Whatever is tried has an end: the guest is thawed by this process in time, by its own watchdog if this
 * process or the agent dies; the post-script runs whenever there is one and the guest answers.
 */
import { orCancelled, throwIfCancelled } from '#base';
import type { QuiesceResult } from '../quiesce.ts';
import { thawGuest } from './freeze-window.ts';
import { contactGuest } from './guest-contact.ts';
import { Later } from './later.ts';
import { quiesceLinux } from './linux-quiesce.ts';
import {
  AGENT_SILENT,
  attempt,
  crashConsistent,
  type Outcome,
  type QuiesceOptions,
  type QuiesceRun,
} from './quiesce-run.ts';
import { StepLog } from './step-log.ts';
import { quiesceWindows } from './windows-quiesce.ts';

/** What applications bear: Azure's own limit of a script, too. */
const WATCHDOG_SECONDS = 30;
const LOOK_AGAIN_MS = 1000;

const CRASH =
  'the point is crash-consistent ("holdfast vm show NAME --connect URI" tells when the agent answers)';
const NO_CHANNEL =
  'no channel to its guest agent is known; give the VM the virtio serial port org.qemu.guest_agent.0, and with qmp: name its socket (agent=PATH)';
const ADVICE = `install qemu-guest-agent in the guest and see that it runs there; ${CRASH}`;

export type Quiesced<R> = {
  readonly result: R;
  readonly quiesce: QuiesceResult;
  readonly ended: Promise<void>;
};

/**
 * Runs `atInstant` once, in a guest as quiet as it can be made.
 *
 * @returns what `atInstant` returned, and how consistent that is. `ended` resolves when nothing is under way in the
 *   guest any more; until then the channel must stay open, and `steps` may grow.
 * @throws what `atInstant` throws, after the thaw and the post-script; {HoldfastError} with Azure's codes where
 *   the rules fail the job: those of R49 where a script failed and `continueBackupOnFailure` is false,
 *   `UserErrorFsFreezeFailed`, `ExtensionFailedVssWriterInBadState`, `ExtensionFailedVssServiceInBadState`;
 *   `Cancelled`. The guest is thawed then; `discard` was given what `atInstant` had returned.
 */
export async function quiesced<R>(
  options: QuiesceOptions<R>,
  atInstant: () => Promise<R>,
): Promise<Quiesced<R>> {
  throwIfCancelled(options.signal);
  const log = new StepLog(options);
  const later = new Later();
  try {
    const outcome = await take(options, { log, later }, atInstant);
    if ('failure' in outcome.instant) throw outcome.instant.failure;
    const { consistency, frozenMs, guestOs } = outcome;
    const known = guestOs === undefined ? {} : { guestOs };
    const quiesce = { consistency, frozenMs, steps: log.steps, ...known };
    return { result: outcome.instant.result, quiesce, ended: later.settled() };
  } catch (error) {
    await later.settled();
    throw error;
  }
}

async function take<R>(
  options: QuiesceOptions<R>,
  { log, later }: Pick<QuiesceRun<R>, 'log' | 'later'>,
  atInstant: () => Promise<R>,
): Promise<Outcome<R> & Pick<QuiesceResult, 'guestOs'>> {
  const { vm, channel, clock } = options;
  if (vm.state !== 'running') {
    const why = vm.state === 'off' ? 'off' : 'paused';
    log.skipped('Contact guest agent', `the VM is ${why}: the point is crash-consistent`);
    return await crashConsistent(atInstant);
  }
  if (channel === undefined) {
    const message = `VM Agent unable to communicate: ${NO_CHANNEL}; ${CRASH}`;
    log.failed('Contact guest agent', log.begin(), { code: AGENT_SILENT, message });
    return await crashConsistent(atInstant);
  }
  const { agent, found, begunMs } = options.contact ?? contactGuest(channel, clock);
  const run: QuiesceRun<R> = {
    options,
    agent,
    log,
    later,
    extension: undefined,
    watchdogMs: (options.watchdogSeconds ?? WATCHDOG_SECONDS) * 1000,
    atInstant,
  };
  const contact = await attempt(
    run,
    { name: 'Contact guest agent', refusedCode: AGENT_SILENT, silentAdvice: ADVICE, begunMs },
    async () => {
      const { extension } = await orCancelled(found, options.signal);
      await thawLeftFrozen(run);
      return { extension, os: await agent.osInfo() };
    },
  );
  if (contact === undefined) return await crashConsistent(atInstant);
  const { extension, os } = contact.value;
  const known = { ...run, extension };
  const quiesce = os.family === 'windows' ? quiesceWindows : quiesceLinux;
  return { ...(await quiesce(known)), guestOs: os };
}

/**
 * A guest that is frozen before anything began: by a backup that died, or by somebody who is at work now. He gets
 * as long as we would take.
 */
async function thawLeftFrozen<R>(run: QuiesceRun<R>): Promise<void> {
  const { agent, log, watchdogMs, options } = run;
  const { clock, signal } = options;
  const begunMs = log.begin();
  if ((await agent.freezeStatus()) === 'thawed') return;
  while (clock.monotonicMs() - begunMs < watchdogMs) {
    await clock.sleep(LOOK_AGAIN_MS, signal).catch(() => throwIfCancelled(signal));
    if ((await agent.freezeStatus()) === 'thawed') return;
  }
  const watch = { agent, clock, watchdogMs: 0, watchdogBegunMs: begunMs, freezeTimeoutMs: 0 };
  const thaw = await thawGuest(watch);
  if (thaw.kind === 'unconfirmed') throw thaw.error;
  log.succeeded('Thaw', begunMs, 'the guest was left frozen by a backup that died: thawed');
}
