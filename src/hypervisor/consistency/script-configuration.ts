/**
 * Azure's configuration of pre- and post-scripts in a Linux guest, read and checked before anything runs (R48):
 * `/etc/azure/VMSnapshotScriptPluginConfig.json`, of root, mode 600; scripts of root, mode 700.
 */
import { isHoldfastError } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';

export const CONFIGURATION_PATH = '/etc/azure/VMSnapshotScriptPluginConfig.json';
const MAX_CONFIGURATION_BYTES = 256 * 1024;
const MAX_TIMEOUT_S = 1800;
const STEP_MS = 20_000;

export type ScriptPhase = 'Pre' | 'Post';

/** R49. Of a wrong owner or mode of the configuration itself Azure has no code: `IncorrectJSONConfigFile`. */
type ScriptCode =
  | `${ScriptPhase}-ScriptExecutionFailed`
  | `${ScriptPhase}-ScriptNotFound`
  | `${ScriptPhase}-ScriptTimeout`
  | `InsufficientPermissionfor${ScriptPhase}-Script`
  | 'IncorrectJSONConfigFile';

export type GuestScript = {
  readonly location: string;
  readonly params: readonly string[];
  /** 0: one try. */
  readonly retryCount: number;
};

export type ScriptConfiguration = {
  readonly pre: GuestScript | undefined;
  readonly post: GuestScript | undefined;
  /** For all tries of one script together. */
  readonly timeoutMs: number;
  readonly continueBackupOnFailure: boolean;
  readonly fsFreezeEnabled: boolean;
  readonly pollMs: number;
};

export type ScriptFault = { readonly code: ScriptCode; readonly message: string };

export type ReadConfiguration =
  | { readonly kind: 'none' }
  | { readonly kind: 'incorrect'; readonly fault: ScriptFault }
  | { readonly kind: 'read'; readonly configuration: ScriptConfiguration };

/** @throws {HoldfastError} `AgentUnavailable`, `AgentFailed` if the agent may not read files. */
export async function readScriptConfiguration(agent: GuestAgent): Promise<ReadConfiguration> {
  const mode = await modeOf(agent, CONFIGURATION_PATH);
  if (mode === undefined) return { kind: 'none' };
  if (mode !== 'rw------- 0') {
    return incorrect(
      `${CONFIGURATION_PATH} must be of root with mode 600; it is ${readable(mode)}`,
    );
  }
  let text: string;
  try {
    text = (await agent.readFile(CONFIGURATION_PATH, MAX_CONFIGURATION_BYTES)).toString('utf8');
  } catch (error) {
    if (!isHoldfastError(error, 'AgentFailed')) throw error;
    return incorrect(error.message);
  }
  return parseScriptConfiguration(text);
}

export function parseScriptConfiguration(text: string): ReadConfiguration {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\u{feff}/u, ''));
  } catch (error) {
    return incorrect(`${CONFIGURATION_PATH} is no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return incorrect(`${CONFIGURATION_PATH} is no JSON object`);
  }
  const fields = new Fields(value as Record<string, unknown>);
  const configuration: ScriptConfiguration = {
    pre: fields.script('pre'),
    post: fields.script('post'),
    timeoutMs: fields.number('timeoutInSeconds', { absent: 30, from: 1, to: MAX_TIMEOUT_S }) * 1000,
    continueBackupOnFailure: fields.boolean('continueBackupOnFailure'),
    fsFreezeEnabled: fields.boolean('fsFreezeEnabled'),
    pollMs: fields.number('ScriptsExecutionPollTimeSeconds', { absent: 1, from: 1, to: 5 }) * 1000,
  };
  const [fault] = fields.faults;
  return fault === undefined
    ? { kind: 'read', configuration }
    : incorrect(`${CONFIGURATION_PATH}: ${fault}`);
}

/** Undefined: it may be run. */
export async function checkScript(
  agent: GuestAgent,
  phase: ScriptPhase,
  script: GuestScript,
): Promise<ScriptFault | undefined> {
  const { location } = script;
  const mode = await modeOf(agent, location);
  if (mode === undefined) {
    return { code: `${phase}-ScriptNotFound`, message: `${location} is not there` };
  }
  if (mode === 'rwx------ 0') return undefined;
  return {
    code: `InsufficientPermissionfor${phase}-Script`,
    message: `${location} must be of root with mode 700; it is ${readable(mode)}`,
  };
}

/** Permissions and owner of a file, links followed, as `rwx------ 0`; undefined: no file. */
async function modeOf(agent: GuestAgent, path: string): Promise<string | undefined> {
  const exit = await agent.exec({
    path: '/bin/sh',
    args: ['-c', '[ -f "$1" ] || exit 44; exec ls -ldnL -- "$1"', 'sh', path],
    timeoutMs: STEP_MS,
  });
  if (exit.exitCode === 44) return undefined;
  // An ACL, shown as "+", lets others in beside the mode: it stays, and fits no right mode.
  const match = /^.([-rwxsStT]{9}\+?)[.]? +\d+ +(\d+) /.exec(exit.stdout.toString('latin1'));
  return match === null ? 'unknown' : `${match[1]!} ${match[2]!}`;
}

function readable(mode: string): string {
  const [permissions, owner] = mode.split(' ');
  return owner === undefined ? mode : `${permissions!}, of user ${owner}`;
}

function incorrect(message: string): ReadConfiguration {
  return { kind: 'incorrect', fault: { code: 'IncorrectJSONConfigFile', message } };
}

/** Typed access to the fields, which gathers what is wrong. */
class Fields {
  readonly faults: string[] = [];
  readonly #value: Record<string, unknown>;

  constructor(value: Record<string, unknown>) {
    this.#value = value;
  }

  script(phase: 'pre' | 'post'): GuestScript | undefined {
    const location = this.#value[`${phase}ScriptLocation`] ?? '';
    const params = this.#value[`${phase}ScriptParams`] ?? [];
    const retryCount = this.number(`${phase}ScriptNoOfRetries`, { absent: 0, from: 0, to: 1000 });
    if (typeof location !== 'string') this.faults.push(`${phase}ScriptLocation is no text`);
    else if (location !== '' && !location.startsWith('/')) {
      this.faults.push(`${phase}ScriptLocation is no absolute path`);
    }
    if (!Array.isArray(params) || params.some((param) => typeof param === 'object')) {
      this.faults.push(`${phase}ScriptParams is no list of texts`);
    }
    if (location === '' || this.faults.length > 0) return undefined;
    return { location: location as string, params: (params as unknown[]).map(String), retryCount };
  }

  number(name: string, rule: { absent: number; from: number; to: number }): number {
    const value = this.#value[name] ?? rule.absent;
    if (typeof value === 'number' && Number.isInteger(value) && value >= rule.from) {
      if (value <= rule.to) return value;
    }
    this.faults.push(`${name} must be a whole number from ${rule.from} to ${rule.to}`);
    return rule.absent;
  }

  /** True unless it says false. */
  boolean(name: string): boolean {
    const value = this.#value[name] ?? true;
    if (typeof value !== 'boolean') this.faults.push(`${name} must be true or false`);
    return value !== false;
  }
}
