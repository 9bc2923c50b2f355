/**
 * What can be asked of a guest through its agent, typed, each with its own time limit. Linux and Windows;
 * commands and fields follow the QEMU Guest Agent reference.
 *
 * While file systems are frozen the agent answers only `ping`, `freezeStatus` and `thaw`: everything else is
 * refused with `AgentFailed`, class `CommandNotFound`.
 */
import { HoldfastError, type Clock } from '#base';
import type { AgentChannel } from './agent-channel.ts';
import { readGuestFile, writeGuestFile } from './guest-file.ts';
import { runInGuest, type GuestCommand, type GuestExit } from './guest-process.ts';

/** Enough for a busy guest under emulation; the agent itself answers within milliseconds. */
const ANSWER_MS = 10_000;

export type GuestOs = {
  readonly family: 'linux' | 'windows';
  /** `debian`, `mswindows`, …; empty: an agent that cannot tell. */
  readonly id: string;
  readonly name: string;
  readonly kernel: string;
};

export type GuestFileSystem = {
  readonly mountpoint: string;
  readonly device: string;
  readonly type: string;
  /** Serials of the disks that it lies on, where the guest knows them. */
  readonly diskSerials: readonly string[];
};

export class GuestAgent {
  readonly #channel: AgentChannel;
  readonly #clock: Clock;
  #os: GuestOs | undefined;

  /** The channel stays the caller's to close. */
  constructor(channel: AgentChannel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
  }

  /** @throws {HoldfastError} `AgentUnavailable`, as everything here. */
  async ping(timeoutMs = ANSWER_MS): Promise<void> {
    await this.#call('guest-ping', { timeoutMs });
  }

  /** Asked once. */
  async osInfo(): Promise<GuestOs> {
    this.#os ??= await this.#askOsInfo();
    return this.#os;
  }

  /** Those that lie on disks. */
  async fsInfo(): Promise<readonly GuestFileSystem[]> {
    const answer = await this.#call('guest-get-fsinfo');
    return recordsOf(answer).map((entry) => ({
      mountpoint: textOf(entry['mountpoint']),
      device: textOf(entry['name']),
      type: textOf(entry['type']),
      diskSerials: recordsOf(entry['disk'])
        .map((disk) => textOf(disk['serial']))
        .filter((serial) => serial !== ''),
    }));
  }

  /** What the agent believes: it does not see that somebody else thawed. */
  async freezeStatus(timeoutMs = ANSWER_MS): Promise<'thawed' | 'frozen'> {
    const status = await this.#call('guest-fsfreeze-status', { timeoutMs });
    return status === 'frozen' ? 'frozen' : 'thawed';
  }

  /**
   * Freezes the file systems (Windows: VSS, until `thaw`).
   *
   * @returns how many.
   * @throws {HoldfastError} `AgentFailed`: nothing stays frozen; `AgentUnavailable`: unknown, send `thaw`.
   */
  async freeze(options: {
    readonly mountpoints?: readonly string[];
    readonly timeoutMs: number;
  }): Promise<number> {
    const { mountpoints, timeoutMs } = options;
    const answer =
      mountpoints === undefined
        ? await this.#call('guest-fsfreeze-freeze', { timeoutMs })
        : await this.#call('guest-fsfreeze-freeze-list', { args: { mountpoints }, timeoutMs });
    return countOf(answer);
  }

  /** Safe to repeat. @returns how many were frozen until now: fewer than `freeze` said, somebody thawed before. */
  async thaw(timeoutMs = ANSWER_MS): Promise<number> {
    return countOf(await this.#call('guest-fsfreeze-thaw', { timeoutMs }));
  }

  /** Of each CPU, what it has done since the guest's start. @throws {HoldfastError} `AgentFailed`: it cannot tell. */
  async cpuStats(): Promise<readonly Record<string, unknown>[]> {
    return recordsOf(await this.#call('guest-get-cpustats'));
  }

  /** As `runInGuest`. */
  async exec(command: GuestCommand): Promise<GuestExit> {
    const kill =
      (await this.osInfo()).family === 'windows'
        ? (pid: number) => windowsKill(pid)
        : (pid: number) => linuxKill(pid);
    const call = (name: string, args: Record<string, unknown>) => this.#call(name, { args });
    return await runInGuest({ call, clock: this.#clock, kill }, command);
  }

  /** @throws {HoldfastError} `AgentFailed` if it is not there, or longer than `maxBytes`. */
  async readFile(path: string, maxBytes: number): Promise<Buffer> {
    return await readGuestFile((name, args) => this.#call(name, { args }), { path, maxBytes });
  }

  /** Makes or replaces the file; not atomically. */
  async writeFile(path: string, content: Uint8Array): Promise<void> {
    await writeGuestFile((name, args) => this.#call(name, { args }), { path, content });
  }

  async #askOsInfo(): Promise<GuestOs> {
    const answer = recordOf(await this.#call('guest-get-osinfo'));
    const id = textOf(answer['id']);
    return {
      family: id === 'mswindows' ? 'windows' : 'linux',
      id,
      name: textOf(answer['pretty-name']) || textOf(answer['name']) || id,
      kernel: textOf(answer['kernel-release']),
    };
  }

  async #call(
    command: string,
    options: { readonly args?: Record<string, unknown>; readonly timeoutMs?: number } = {},
  ): Promise<unknown> {
    return await this.#channel.execute(command, {
      timeoutMs: options.timeoutMs ?? ANSWER_MS,
      ...(options.args === undefined ? {} : { arguments: options.args }),
    });
  }
}

/** The process is the leader of its group where it was started through `setsid`. */
function linuxKill(pid: number): GuestCommand {
  const script = 'kill -KILL -- "-$1" 2>/dev/null || kill -KILL "$1"';
  return { path: '/bin/sh', args: ['-c', script, 'sh', String(pid)], timeoutMs: ANSWER_MS };
}

function windowsKill(pid: number): GuestCommand {
  return {
    path: 'taskkill.exe',
    args: ['/T', '/F', '/PID', String(pid)],
    timeoutMs: ANSWER_MS,
  };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function recordsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.map(recordOf) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function countOf(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new HoldfastError('AgentFailed', 'guest agent: it did not say how many file systems', {
    details: { class: 'ProtocolViolation', text: JSON.stringify(value) ?? '' },
  });
}
