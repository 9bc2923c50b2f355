/**
 * The load of a Linux guest. Its CPUs' times are asked by `guest-get-cpustats` (agents of QEMU 7.1 and newer, also
 * where files may not be read), else read from /proc/stat; its memory is read from /proc/meminfo.
 */
import { isHoldfastError, pause, throwIfCancelled } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import {
  cpuShare,
  share,
  type CpuTimes,
  type GuestLoad,
  type LoadQuestion,
} from './load-shares.ts';

const BETWEEN_MS = 500;
/** /proc/stat has a number for each interrupt. */
const MOST_BYTES = 1024 * 1024;
/** The columns of /proc/stat, as the agent names them too; what guests of the guest had is in `user` and `nice`. */
const TIMES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const;

type Times = Partial<Record<(typeof TIMES)[number], number>>;

export async function linuxLoad(
  agent: GuestAgent,
  { clock, signal }: LoadQuestion,
): Promise<GuestLoad> {
  const before = await unlessRefused(async () => await readTimes(agent));
  if (before !== undefined) await pause(clock, BETWEEN_MS, signal);
  throwIfCancelled(signal);
  const after = before && (await unlessRefused(async () => await readTimes(agent)));
  const memory = await unlessRefused(async () =>
    memoryShare(await readText(agent, '/proc/meminfo')),
  );
  return { cpu: before && after && cpuShare(before, after), memory };
}

async function readTimes(agent: GuestAgent): Promise<CpuTimes | undefined> {
  const told = await unlessRefused(async () => timesOfCpus(await agent.cpuStats()));
  return told ?? timesOfStat(await readText(agent, '/proc/stat'));
}

/** What `guest-get-cpustats` answers: an entry a CPU, in milliseconds. Undefined: nothing of a Linux. */
function timesOfCpus(cpus: readonly Record<string, unknown>[]): CpuTimes | undefined {
  const linux = cpus.filter(({ type }) => type === 'linux');
  if (linux.length === 0) return undefined;
  const each = linux.map((cpu) => timesOf(cpu as Times));
  return {
    idle: each.reduce((sum, { idle }) => sum + idle, 0),
    all: each.reduce((sum, { all }) => sum + all, 0),
  };
}

/** The line of all CPUs, in ticks. Undefined: it is not there. */
export function timesOfStat(text: string): CpuTimes | undefined {
  const [, columns] = /^cpu\s+([\d ]+)$/m.exec(text) ?? [];
  if (columns === undefined) return undefined;
  const numbers = columns.trim().split(/ +/).map(Number);
  return timesOf(Object.fromEntries(TIMES.map((name, at) => [name, numbers[at]])));
}

/** Waiting for a disk leaves the CPU free. */
function timesOf(times: Times): CpuTimes {
  const { idle = 0, iowait = 0 } = times;
  return { idle: idle + iowait, all: TIMES.reduce((sum, name) => sum + (times[name] ?? 0), 0) };
}

/** Of /proc/meminfo. Undefined: a kernel before 3.14 does not say what is available. */
export function memoryShare(text: string): number | undefined {
  const [total, available] = ['MemTotal', 'MemAvailable'].map((name) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]),
  );
  return share(1 - available! / total!);
}

async function readText(agent: GuestAgent, path: string): Promise<string> {
  return (await agent.readFile(path, MOST_BYTES)).toString('latin1');
}

/** Undefined: the agent may not, or cannot, tell. */
async function unlessRefused<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (!isHoldfastError(error, 'AgentFailed')) throw error;
    return undefined;
  }
}
