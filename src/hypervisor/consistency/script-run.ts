/** Runs a pre- or post-script in a Linux guest: tried again as configured, killed when its time is over (R48, R49). */
import type { Clock } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import type { InstalledExtension } from '../extension/extension.ts';
import {
  checkScript,
  type GuestScript,
  type ScriptConfiguration,
  type ScriptFault,
  type ScriptPhase,
} from './script-configuration.ts';

/** So that what overruns can be killed with all that it started. */
const IN_ITS_OWN_GROUP =
  'command -v setsid >/dev/null 2>&1 && exec setsid /bin/sh "$@"; exec /bin/sh "$@"';
const SHOWN_CHARACTERS = 300;

export type ScriptAccess = {
  readonly agent: GuestAgent;
  readonly clock: Clock;
  readonly extension: InstalledExtension;
  readonly configuration: ScriptConfiguration;
  readonly signal?: AbortSignal | undefined;
};

/**
 * @returns undefined if it succeeded, else why not. The time limit is for all tries together, as Azure's.
 * @throws {HoldfastError} `AgentUnavailable`; `Cancelled`, with the script killed.
 */
export async function runScript(
  access: ScriptAccess,
  phase: ScriptPhase,
  script: GuestScript,
): Promise<ScriptFault | undefined> {
  const { agent, clock, extension, configuration } = access;
  const fault = await checkScript(agent, phase, script);
  if (fault !== undefined) return fault;

  const deadlineMs = clock.monotonicMs() + configuration.timeoutMs;
  const words = [script.location, ...script.params];
  let failure = '';
  for (let tryCount = 1; tryCount <= script.retryCount + 1; tryCount += 1) {
    const exit = await agent.exec({
      path: '/bin/sh',
      args: ['-c', IN_ITS_OWN_GROUP, 'sh', extension.scriptPath, 'script', ...words],
      timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()),
      pollMs: configuration.pollMs,
      signal: access.signal,
    });
    if (exit.exitCode === 0) return undefined;
    if (exit.timedOut) {
      return {
        code: `${phase}-ScriptTimeout`,
        message: `${script.location} did not end in ${configuration.timeoutMs / 1000} s: it was killed (try ${tryCount})`,
      };
    }
    const output = exit.stdout.toString('utf8').trim().slice(-SHOWN_CHARACTERS);
    failure = `${script.location} ended with ${exit.exitCode ?? `signal ${exit.signal}`} (try ${tryCount})${output === '' ? '' : `: ${output}`}`;
  }
  return { code: `${phase}-ScriptExecutionFailed`, message: failure };
}
