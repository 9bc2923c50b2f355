/**
 * Runs `virsh`, one process a command: each has its own exit code and its own complaint, and dies when
 * cancelled without taking others with it. (A persistent `virsh` is faster, 1 ms against 33 ms, but mixes the
 * complaints of its commands.) A domain is always given by its UUID: `virsh` takes a name of digits for an id.
 */
import { spawn } from 'node:child_process';
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import { virshError } from './virsh-errors.ts';

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
const MAX_OUTPUT_CHARACTERS = 64 * 1024 * 1024;
/** What env(1) exits with where it finds no virsh. */
const NOT_FOUND = 127;

export function virshOf(uri: string, clock: Clock): Virsh {
  return {
    uri,
    run: async (args, options = {}) => await runVirsh({ uri, clock, args }, options),
  };
}

type VirshRun = { readonly uri: string; readonly clock: Clock; readonly args: readonly string[] };

async function runVirsh(run: VirshRun, options: VirshOptions): Promise<string> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  throwIfCancelled(signal);
  // The complaints are read: they must be English. virsh asks for no password without a terminal.
  const args = ['LC_ALL=C', 'virsh', '-q', '-c', run.uri, ...run.args];
  const child = spawn('env', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = gather(child);
  const timer = new AbortController();
  let end: 'cancelled' | 'late' | undefined;
  const stop = (why: 'cancelled' | 'late'): void => {
    end ??= why;
    child.kill('SIGKILL');
  };
  const onAbort = (): void => stop('cancelled');
  signal?.addEventListener('abort', onAbort, { once: true });
  void run.clock.sleep(timeoutMs, timer.signal).then(
    () => stop('late'),
    () => {}, // Cut short below: the command has ended.
  );
  const result = await ended.finally(() => {
    signal?.removeEventListener('abort', onAbort);
    timer.abort();
  });
  if (result.exitCode === 0) return result.output;
  if (end === 'cancelled') throwIfCancelled(signal);
  if (end === 'late') {
    throw new HoldfastError(
      'HypervisorUnavailable',
      `libvirt at ${run.uri} did not answer "${run.args[0]}" within ${timeoutMs / 1000} s`,
    );
  }
  if (result.exitCode === NOT_FOUND && result.complaint.includes('virsh')) {
    throw new HoldfastError('ToolMissing', 'virsh is not installed (Debian: libvirt-clients)', {
      details: { tool: 'virsh' },
    });
  }
  throw virshError(result.complaint, { uri: run.uri, command: run.args[0] ?? '' });
}

type Ended = {
  readonly exitCode: number | null;
  readonly output: string;
  readonly complaint: string;
};

function gather(child: ReturnType<typeof spawn>): Promise<Ended> {
  let output = '';
  let complaint = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < MAX_OUTPUT_CHARACTERS) output += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < MAX_OUTPUT_CHARACTERS) complaint += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, output, complaint }));
  });
}
