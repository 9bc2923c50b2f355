/**
 * A Linux guest (rules 5.8, R48–R50): extension → pre-script → watchdog → freeze → instant → thaw → post-script.
 *
 * | scripts                                    | frozen | point                                      |
 * | ------------------------------------------ | ------ | ------------------------------------------ |
 * | none                                       | yes    | FileSystemConsistent                       |
 * | all that are configured succeed            | yes    | AppConsistent                              |
 * | one fails, continueBackupOnFailure         | yes    | FileSystemConsistent                       |
 * | one fails, not continueBackupOnFailure     | –      | job fails; VM with one disk: CrashConsistent |
 * | any, fsFreezeEnabled false                 | no     | CrashConsistent                            |
 *
 * Without freezing what applications wrote may still be in the guest's memory, whatever its scripts said: so
 * `fsFreezeEnabled: false` is crash-consistent even with scripts. Without the guest's own watchdog nothing is
 * frozen: a guest that stays frozen is worse than a point that is only crash-consistent.
 */
import { HoldfastError, isHoldfastError, throwIfCancelled } from '#base';
import type { InstalledExtension } from '../extension/extension.ts';
import { freezeGuest, holdFrozen, type FreezeAccess } from './freeze-window.ts';
import {
  attempt,
  crashConsistent,
  EXTENSION_FAILED,
  heldOutcome,
  installExtension,
  reportThaw,
  SNAPSHOT_SILENT,
  type Outcome,
  type QuiesceRun,
} from './quiesce-run.ts';
import {
  readScriptConfiguration,
  type ScriptConfiguration,
  type ScriptFault,
  type ScriptPhase,
} from './script-configuration.ts';
import { runScript } from './script-run.ts';

/** The extension also writes what is dirty before the freeze. */
const PREPARE_MS = 60_000;
const CANCEL_MS = 20_000;

type Scripts = {
  readonly configuration: ScriptConfiguration | undefined;
  /** A script failed, or the configuration is wrong. */
  failed: boolean;
  readonly extension: InstalledExtension;
};

export async function quiesceLinux<R>(run: QuiesceRun<R>): Promise<Outcome<R>> {
  const extension = await installExtension(run);
  if (extension === undefined) return await crashConsistent(run.atInstant);
  const scripts = await prepareScripts(run, extension);
  if (scripts === undefined) return await crashConsistent(run.atInstant);

  let outcome: Outcome<R>;
  try {
    const mayGoOn = await script(run, scripts, 'Pre');
    throwIfCancelled(run.options.signal);
    outcome = mayGoOn ? await frozenOrNot(run, scripts) : await crashConsistent(run.atInstant);
  } catch (error) {
    await postAfterFailure(run, scripts);
    throw error;
  }
  if ('failure' in outcome.instant) {
    await postAfterFailure(run, scripts);
    return outcome;
  }
  return await afterInstant(run, scripts, { ...outcome, result: outcome.instant.result });
}

async function prepareScripts<R>(
  run: QuiesceRun<R>,
  extension: InstalledExtension,
): Promise<Scripts | undefined> {
  const begunMs = run.log.begin();
  const read = await attempt(run, { name: 'Pre-script', refusedCode: EXTENSION_FAILED }, () =>
    readScriptConfiguration(run.agent),
  );
  if (read === undefined) return undefined;
  if (read.value.kind === 'incorrect') run.log.failed('Pre-script', begunMs, read.value.fault);
  if (read.value.kind === 'none') run.log.skipped('Pre-script', 'the guest has no scripts');
  return {
    configuration: read.value.kind === 'read' ? read.value.configuration : undefined,
    failed: read.value.kind === 'incorrect',
    extension,
  };
}

/**
 * Runs a script where there is one.
 *
 * @returns whether the guest may be frozen: false after a failure for which the point of a VM with one disk
 *   falls back to crash-consistent.
 * @throws {HoldfastError} R49's code, where the job must fail.
 */
async function script<R>(
  run: QuiesceRun<R>,
  scripts: Scripts,
  phase: ScriptPhase,
): Promise<boolean> {
  const { configuration } = scripts;
  const wanted = phase === 'Pre' ? configuration?.pre : configuration?.post;
  if (configuration === undefined || wanted === undefined) return true;
  await run.later.settled();
  const { agent, log, options } = run;
  const name = `${phase}-script`;
  const begunMs = log.begin();
  const access = {
    agent,
    configuration,
    clock: options.clock,
    extension: scripts.extension,
    // What a pre-script began is ended even when the job is cancelled.
    signal: phase === 'Pre' ? options.signal : undefined,
  };
  const fault = await faultOf(() => runScript(access, phase, wanted), phase);
  if (fault === undefined) {
    log.succeeded(name, begunMs, `${wanted.location} succeeded`);
    return true;
  }
  scripts.failed = true;
  log.failed(name, begunMs, fault);
  if (configuration.continueBackupOnFailure) return true;
  if (options.vm.disks.length === 1) return false;
  throw new HoldfastError(fault.code, `${name}: ${fault.message}`, {
    details: { vm: options.vm.name },
  });
}

/** An agent that refuses or falls silent under a script is a script that failed. */
async function faultOf(
  work: () => Promise<ScriptFault | undefined>,
  phase: ScriptPhase,
): Promise<ScriptFault | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isHoldfastError(error, 'AgentUnavailable') && !isHoldfastError(error, 'AgentFailed')) {
      throw error;
    }
    return { code: `${phase}-ScriptExecutionFailed`, message: error.message };
  }
}

/** The failure before it is what the job tells; this one is in the steps and warnings. */
async function postAfterFailure<R>(run: QuiesceRun<R>, scripts: Scripts): Promise<void> {
  try {
    await script(run, scripts, 'Post');
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
  }
}

async function afterInstant<R>(
  run: QuiesceRun<R>,
  scripts: Scripts,
  outcome: Outcome<R> & { readonly result: R },
): Promise<Outcome<R>> {
  let mayStand: boolean;
  try {
    mayStand = await script(run, scripts, 'Post');
  } catch (error) {
    await run.options.discard(outcome.result);
    throw error;
  }
  if (!mayStand) return { ...outcome, consistency: 'CrashConsistent' };
  const { configuration } = scripts;
  const hasScripts = configuration?.pre !== undefined || configuration?.post !== undefined;
  const isApplication =
    outcome.consistency === 'FileSystemConsistent' && hasScripts && !scripts.failed;
  return isApplication ? { ...outcome, consistency: 'AppConsistent' } : outcome;
}

/** The instant, frozen where that is possible: file-system consistent then. */
async function frozenOrNot<R>(run: QuiesceRun<R>, scripts: Scripts): Promise<Outcome<R>> {
  const { log } = run;
  if (scripts.configuration?.fsFreezeEnabled === false) {
    log.skipped('Freeze', 'fsFreezeEnabled is false in the guest: the point is crash-consistent');
    return await crashConsistent(run.atInstant);
  }
  const watchdogBegunMs = await startWatchdog(run, scripts.extension);
  if (watchdogBegunMs === undefined) return await crashConsistent(run.atInstant);
  if (run.options.signal?.aborted === true) {
    cancelWatchdog(run, scripts.extension);
    throwIfCancelled(run.options.signal);
  }
  const access: FreezeAccess = {
    agent: run.agent,
    clock: run.options.clock,
    watchdogMs: run.watchdogMs,
    watchdogBegunMs,
    freezeTimeoutMs: run.watchdogMs,
    signal: run.options.signal,
  };
  const begunMs = log.begin();
  const frozen = await freezeGuest(access);
  if (frozen.kind === 'frozen') {
    const held = await holdFrozen(access, frozen, run.atInstant);
    const message = `file systems frozen: ${frozen.count}`;
    log.end('Freeze', begunMs, { outcome: 'succeeded', message, endedMs: frozen.atMs });
    reportThaw(run, held.thaw, held.frozenMs);
    cancelWatchdog(run, scripts.extension);
    return heldOutcome(run, held);
  }
  cancelWatchdog(run, scripts.extension);
  if (frozen.kind === 'silent') {
    log.failed('Freeze', begunMs, { code: SNAPSHOT_SILENT, message: frozen.error.message });
    reportThaw(run, frozen.thaw, undefined);
    return await crashConsistent(run.atInstant);
  }
  const text = String(frozen.error.details['text'] ?? frozen.error.message);
  const message = `Failed to freeze one or more mount-points of the VM to take a file-system consistent snapshot: ${text}`;
  log.failed('Freeze', begunMs, { code: 'UserErrorFsFreezeFailed', message });
  throw new HoldfastError('UserErrorFsFreezeFailed', message, {
    cause: frozen.error,
    details: { vm: run.options.vm.name, text },
  });
}

/** @returns the earliest time at which the watchdog can have begun to count; undefined: there is none. */
async function startWatchdog<R>(
  run: QuiesceRun<R>,
  extension: InstalledExtension,
): Promise<number | undefined> {
  const { log, watchdogMs } = run;
  const begunMs = log.begin();
  if (!(await inExtension(run, extension, ['prepare']))) return undefined;
  await run.options.beforeFreeze?.();
  throwIfCancelled(run.options.signal);
  const countsFromMs = log.begin();
  if (!(await inExtension(run, extension, ['watch', String(watchdogMs / 1000)]))) return undefined;
  log.succeeded('Start watchdog', begunMs, `the guest thaws by itself in ${watchdogMs / 1000} s`);
  return countsFromMs;
}

/** @returns whether it succeeded; else there is a failed step. */
async function inExtension<R>(
  run: QuiesceRun<R>,
  extension: InstalledExtension,
  words: readonly string[],
): Promise<boolean> {
  const { agent, log } = run;
  const begunMs = log.begin();
  const ran = await attempt(run, { name: 'Start watchdog', refusedCode: EXTENSION_FAILED }, () =>
    agent.exec({
      path: '/bin/sh',
      args: [extension.scriptPath, ...words],
      timeoutMs: PREPARE_MS,
    }),
  );
  if (ran === undefined) return false;
  const exit = ran.value;
  if (exit.exitCode === 0) return true;
  const why = exit.timedOut ? 'it did not start in time' : exit.stderr.toString('utf8').trim();
  const message = `no watchdog in the guest, so it is not frozen: ${why}`;
  log.failed('Start watchdog', begunMs, { code: EXTENSION_FAILED, message });
  return false;
}

/** Beside what follows. Left running it would thaw what is thawed already, and end by itself: no reason to fail. */
function cancelWatchdog<R>(run: QuiesceRun<R>, extension: InstalledExtension): void {
  const cancelling = attempt(
    run,
    { name: 'Cancel watchdog', refusedCode: EXTENSION_FAILED },
    async () =>
      await run.agent.exec({
        path: '/bin/sh',
        args: [extension.scriptPath, 'cancel'],
        timeoutMs: CANCEL_MS,
      }),
  );
  run.later.add(cancelling);
}
