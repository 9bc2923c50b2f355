/**
 * Programs in the guest: started with guest-exec, polled with guest-exec-status until they end or their time is
 * over; what overruns is killed. The agent keeps what a program wrote only up to a limit, and says so.
 */
import { throwIfCancelled, type Clock, pause } from '#base';

/** The first answer comes soon for the many commands that take milliseconds. */
const FIRST_POLL_MS = 10;
const LONGER = 1.5;
const LONGEST_POLL_MS = 500;
/** A killed program is waited for, so that the agent forgets it. */
const REAP_POLLS = 10;

export type GuestCommand = {
  readonly path: string;
  readonly args?: readonly string[];
  /** `NAME=value`; absent: the agent's own. */
  readonly env?: readonly string[];
  readonly input?: Uint8Array;
  readonly timeoutMs: number;
  /** The longest time between two looks. */
  readonly pollMs?: number;
  readonly signal?: AbortSignal | undefined;
};

export type GuestExit = {
  /** Undefined: killed, by `signal` or because its time was over. */
  readonly exitCode: number | undefined;
  readonly signal: number | undefined;
  readonly timedOut: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** The agent kept only the beginning of `stdout` or `stderr`. */
  readonly truncated: boolean;
};

export type GuestCall = (command: string, args: Record<string, unknown>) => Promise<unknown>;

type Access = {
  readonly call: GuestCall;
  readonly clock: Clock;
  /** The command that kills a process and its group. */
  readonly kill: (pid: number) => GuestCommand;
};

/**
 * Runs a program to its end. It ends when it has exited and whatever inherited its outputs has closed them.
 *
 * @returns its exit; `timedOut` after it was killed.
 * @throws {HoldfastError} `AgentFailed` if it cannot be started; `AgentUnavailable`; `Cancelled`, killed.
 */
export async function runInGuest(access: Access, command: GuestCommand): Promise<GuestExit> {
  throwIfCancelled(command.signal);
  const { clock } = access;
  const deadlineMs = clock.monotonicMs() + command.timeoutMs;
  const pid = await start(access.call, command);

  let pollMs = FIRST_POLL_MS;
  for (;;) {
    const exit = await statusOf(access.call, pid);
    if (exit !== undefined) return exit;
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0 || command.signal?.aborted === true) break;
    await pause(clock, Math.min(pollMs, leftMs), command.signal);
    pollMs = Math.min(pollMs * LONGER, command.pollMs ?? LONGEST_POLL_MS);
  }
  const exit = await killed(access, pid);
  throwIfCancelled(command.signal);
  return exit;
}

async function start(call: GuestCall, command: GuestCommand): Promise<number> {
  const answer = (await call('guest-exec', {
    path: command.path,
    arg: command.args ?? [],
    'capture-output': true,
    ...(command.env === undefined ? {} : { env: command.env }),
    ...(command.input === undefined ? {} : { 'input-data': base64(command.input) }),
  })) as { pid: number };
  return answer.pid;
}

async function statusOf(call: GuestCall, pid: number): Promise<GuestExit | undefined> {
  const status = (await call('guest-exec-status', { pid })) as {
    exited: boolean;
    exitcode?: number;
    signal?: number;
    'out-data'?: string;
    'err-data'?: string;
    'out-truncated'?: boolean;
    'err-truncated'?: boolean;
  };
  if (!status.exited) return undefined;
  return {
    exitCode: status.signal === undefined ? status.exitcode : undefined,
    signal: status.signal,
    timedOut: false,
    stdout: Buffer.from(status['out-data'] ?? '', 'base64'),
    stderr: Buffer.from(status['err-data'] ?? '', 'base64'),
    truncated: status['out-truncated'] === true || status['err-truncated'] === true,
  };
}

async function killed(access: Access, pid: number): Promise<GuestExit> {
  await runInGuest(access, access.kill(pid));
  for (let poll = 0; poll < REAP_POLLS; poll += 1) {
    const exit = await statusOf(access.call, pid);
    if (exit !== undefined) return { ...exit, exitCode: undefined, timedOut: true };
    await access.clock.sleep(LONGEST_POLL_MS / 5);
  }
  // Something that it started holds its outputs: what it wrote stays with the agent.
  return {
    exitCode: undefined,
    signal: undefined,
    timedOut: true,
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
    truncated: true,
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
