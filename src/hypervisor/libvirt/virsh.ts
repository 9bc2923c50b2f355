/**
 * Runs `virsh`: through processes that stay (`virsh-shell.ts`), each for one command at a time, as many as there
 * are commands at once; what no line can carry through a process of its own. A command that is cancelled or late
 * is ended with its process, and takes no other with it. A domain is always given by its UUID: `virsh` takes a
 * name of digits for an id.
 */
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import { virshError } from './virsh-errors.ts';
import { startVirsh, type RunningCommand, type VirshAnswer } from './virsh-process.ts';
import { VirshShell } from './virsh-shell.ts';

export type VirshOptions = {
  readonly signal?: AbortSignal | undefined;
  /** After it the command is ended; libvirt itself waits 30 s for a lock. */
  readonly timeoutMs?: number;
};

export interface Virsh {
  readonly uri: string;
  /**
   * @returns standard output.
   * @throws {HoldfastError} as `virshError` reads the complaint; `HypervisorUnavailable` after `timeoutMs`;
   *   `ToolMissing`; `Cancelled`.
   */
  run(args: readonly string[], options?: VirshOptions): Promise<string>;
}

const DEFAULT_TIMEOUT_MS = 120_000;

/** `close` ends the processes that wait for commands; a command after it starts one again. */
export function virshOf(uri: string, clock: Clock): Virsh & { close(): void } {
  const idle: VirshShell[] = [];
  const run = async (args: readonly string[], options: VirshOptions = {}): Promise<string> => {
    throwIfCancelled(options.signal);
    if (!VirshShell.canRun(args)) {
      return await outputOf({ uri, clock, args, command: startVirsh(uri, args) }, options);
    }
    const shell = usable(idle) ?? new VirshShell(uri);
    try {
      return await outputOf({ uri, clock, args, command: shell.start(args) }, options);
    } finally {
      if (shell.isUsable) idle.push(shell);
      else shell.close();
    }
  };
  const close = (): void => {
    for (const shell of idle.splice(0)) shell.close();
  };
  return { uri, run, close };
}

function usable(idle: VirshShell[]): VirshShell | undefined {
  for (;;) {
    const shell = idle.pop();
    if (shell === undefined || shell.isUsable) return shell;
  }
}

type VirshRun = {
  readonly uri: string;
  readonly clock: Clock;
  readonly args: readonly string[];
  readonly command: RunningCommand;
};

async function outputOf(run: VirshRun, options: VirshOptions): Promise<string> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const timer = new AbortController();
  let end: 'cancelled' | 'late' | undefined;
  const stop = (why: 'cancelled' | 'late'): void => {
    end ??= why;
    run.command.kill();
  };
  const onAbort = (): void => stop('cancelled');
  signal?.addEventListener('abort', onAbort, { once: true });
  void run.clock.sleep(timeoutMs, timer.signal).then(
    () => stop('late'),
    () => {}, // Cut short below: the command has ended.
  );
  const answer = await run.command.answer.finally(() => {
    signal?.removeEventListener('abort', onAbort);
    timer.abort();
  });
  if (!answer.isRefused) return answer.output;
  if (end === 'cancelled') throwIfCancelled(signal);
  if (end === 'late') {
    throw new HoldfastError(
      'HypervisorUnavailable',
      `libvirt at ${run.uri} did not answer "${run.args[0]}" within ${timeoutMs / 1000} s`,
    );
  }
  throw complaintOf(run, answer);
}

function complaintOf(
  { uri, args }: VirshRun,
  { isMissing, complaint }: VirshAnswer,
): HoldfastError {
  if (!isMissing) return virshError(complaint, { uri, command: args[0] ?? '' });
  return new HoldfastError('ToolMissing', 'virsh is not installed (Debian: libvirt-clients)', {
    details: { tool: 'virsh' },
  });
}
