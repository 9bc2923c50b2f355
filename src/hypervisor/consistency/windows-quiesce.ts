/**
 * A Windows guest (rules 5.8, R46): the agent's freeze is a VSS snapshot set that holds its writers until the thaw.
 *
 * | VSS                                              | point                              |
 * | ------------------------------------------------ | ---------------------------------- |
 * | held, all writers well after it                  | AppConsistent                      |
 * | held, a writer failed or the end was complained of | FileSystemConsistent, a warning  |
 * | refused                                          | FileSystemConsistent, a warning    |
 * | refused: writers or the service in a bad state   | the job fails, with Azure's code   |
 *
 * Full by default; copy where the guest says `USEVSSCOPYBACKUP=TRUE`. The holding ends by itself after 60 s at
 * the latest: VSS is the guest's own watchdog.
 */
import { HoldfastError, throwIfCancelled } from '#base';
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

/** Writers prepare for up to a minute before they are held. */
const VSS_FREEZE_MS = 120_000;
const COMMAND_MS = 60_000;
/** `vssadmin` prints states as `[8] Failed`, translated but for the number; from 6 on they are failures. */
const WRITER_STATE = /^\s+\S.*\[(\d+)\]/gm;
const FIRST_FAILED_STATE = 6;
/** What the agent's text says of why VSS refused: VSS_E_BAD_STATE; service disabled, class not registered. */
const REFUSALS = [
  { pattern: /80042301/i, code: 'ExtensionFailedVssWriterInBadState' },
  { pattern: /80070422|80040154/i, code: 'ExtensionFailedVssServiceInBadState' },
] as const;

export async function quiesceWindows<R>(run: QuiesceRun<R>): Promise<Outcome<R>> {
  const { log, options, watchdogMs } = run;
  // Without the extension VSS still works: in full mode, with its writers unseen.
  const extension = await installExtension(run);
  await options.beforeFreeze?.();
  const isCopy = extension !== undefined && (await chooseCopy(run, extension));
  throwIfCancelled(options.signal);
  const begunMs = log.begin();
  const access: FreezeAccess = {
    agent: run.agent,
    clock: options.clock,
    watchdogMs,
    watchdogBegunMs: begunMs,
    freezeTimeoutMs: VSS_FREEZE_MS,
    signal: options.signal,
  };
  const frozen = await freezeGuest(access);
  if (frozen.kind !== 'frozen') {
    if (isCopy) await vss(run, extension, 'full');
    return await notHeld(run, begunMs, frozen);
  }
  // VSS prepares within the freeze: the holding counts from its reply.
  const held = await holdFrozen({ ...access, watchdogBegunMs: frozen.atMs }, frozen, run.atInstant);
  log.succeeded(
    'Freeze',
    begunMs,
    `VSS held ${frozen.count} volumes (${isCopy ? 'copy' : 'full'})`,
  );
  reportThaw(run, held.thaw, held.frozenMs);
  if (isCopy) await vss(run, extension, 'full');
  const outcome = heldOutcome(run, held);
  if (outcome.consistency !== 'FileSystemConsistent') return outcome;
  const complaint = held.thaw.kind === 'thawed' ? held.thaw.complaint : undefined;
  if (complaint !== undefined) {
    log.failed('VSS writers', log.begin(), { code: SNAPSHOT_SILENT, message: complaint });
    return outcome;
  }
  const isWell = extension === undefined || (await writersAreWell(run, extension));
  return isWell ? { ...outcome, consistency: 'AppConsistent' } : outcome;
}

async function notHeld<R>(
  run: QuiesceRun<R>,
  begunMs: number,
  frozen: Exclude<Awaited<ReturnType<typeof freezeGuest>>, { kind: 'frozen' }>,
): Promise<Outcome<R>> {
  const { log, options } = run;
  if (frozen.kind === 'silent') {
    log.failed('Freeze', begunMs, { code: SNAPSHOT_SILENT, message: frozen.error.message });
    reportThaw(run, frozen.thaw, undefined);
    return await crashConsistent(run.atInstant);
  }
  const text = String(frozen.error.details['text'] ?? frozen.error.message);
  const refusal = REFUSALS.find(({ pattern }) => pattern.test(text));
  if (refusal !== undefined) {
    log.failed('Freeze', begunMs, { code: refusal.code, message: text });
    throw new HoldfastError(refusal.code, `VSS in the guest refused: ${text}`, {
      cause: frozen.error,
      details: { vm: options.vm.name, text },
    });
  }
  const message = `VSS in the guest failed, the point is file-system consistent: ${text}`;
  log.failed('Freeze', begunMs, { code: 'ExtensionSnapshotFailedCOM', message });
  return { ...(await crashConsistent(run.atInstant)), consistency: 'FileSystemConsistent' };
}

/** R46: sets the agent's VSS provider to copy backups where the guest asks for them. */
async function chooseCopy<R>(run: QuiesceRun<R>, extension: InstalledExtension): Promise<boolean> {
  const output = await vss(run, extension, 'mode');
  if (output === undefined || !/USEVSSCOPYBACKUP\s+REG_SZ\s+TRUE\s*$/im.test(output)) return false;
  const begunMs = run.log.begin();
  if ((await vss(run, extension, 'copy')) === undefined) return false;
  const message = 'USEVSSCOPYBACKUP is TRUE: a copy backup (needs the guest agent 8.0 or newer)';
  run.log.succeeded('VSS mode', begunMs, message);
  return true;
}

async function writersAreWell<R>(
  run: QuiesceRun<R>,
  extension: InstalledExtension,
): Promise<boolean> {
  const begunMs = run.log.begin();
  const output = await vss(run, extension, 'writers');
  if (output === undefined) return false;
  const failed = Array.from(output.matchAll(WRITER_STATE)).filter(
    ([, state]) => Number(state) >= FIRST_FAILED_STATE,
  );
  if (failed.length === 0) {
    run.log.succeeded('VSS writers', begunMs, 'all are well');
    return true;
  }
  const message = `${failed.length} VSS writers failed: the point is file-system consistent`;
  run.log.failed('VSS writers', begunMs, { code: 'ExtensionFailedVssWriterInBadState', message });
  return false;
}

/** What the extension printed; undefined, with a failed step: it could not. */
async function vss<R>(
  run: QuiesceRun<R>,
  extension: InstalledExtension,
  command: 'mode' | 'copy' | 'full' | 'writers',
): Promise<string | undefined> {
  const name = command === 'writers' ? 'VSS writers' : 'VSS mode';
  const begunMs = run.log.begin();
  const ran = await attempt(run, { name, refusedCode: EXTENSION_FAILED }, () =>
    run.agent.exec({
      path: 'cmd.exe',
      args: ['/c', extension.scriptPath, command],
      timeoutMs: COMMAND_MS,
    }),
  );
  if (ran === undefined) return undefined;
  if (ran.value.exitCode === 0) return ran.value.stdout.toString('latin1');
  const message = ran.value.stderr.toString('latin1').trim() || `${command} failed`;
  run.log.failed(name, begunMs, { code: EXTENSION_FAILED, message });
  return undefined;
}
