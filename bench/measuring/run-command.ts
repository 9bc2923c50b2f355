/**
 * Runs a program from its start to its exit and says what it took: wall time, CPU time of it and its
 * children, and the most private memory it held. Programs that run on (servers) are started apart.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { undoneInTheEnd } from './clean-up.ts';

export type Command = {
  readonly args: readonly string[];
  /** Variables beside those of this process. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly cwd?: string;
};

export type Measured = {
  readonly seconds: number;
  /** User and system, of the program and all that it waited for. */
  readonly cpuSeconds: number;
  /** Cores that everything else on the machine kept busy meanwhile: what disturbed the run. */
  readonly otherCores: number;
  /** Anonymous memory of the program itself, sampled: mapped files and children are not in it. */
  readonly peakPrivateBytes: number;
  readonly stdout: string;
};

const SAMPLE_MS = 100;
const TICKS_PER_SECOND = 100;

/** @throws {Error} with what the program said if it fails. */
export async function runCommand(command: Command): Promise<Measured> {
  const [cpuBefore, busyBefore] = [childrenCpuSeconds(), busyCpuSeconds()];
  const start = performance.now();
  const { child, peak } = startCommand(command);
  let [stdout, stderr] = ['', ''];
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let end = 0;
  let busyAfter = 0;
  child.once('exit', () => {
    end = performance.now();
    busyAfter = busyCpuSeconds();
  });
  const code = await new Promise<number | null>((settle, reject) => {
    child.once('error', reject);
    child.once('close', settle);
  });
  if (code !== 0) throw new Error(`${command.args.join(' ')}: exit ${code}: ${stderr.trim()}`);
  const seconds = (end - start) / 1000;
  const cpuSeconds = childrenCpuSeconds() - cpuBefore;
  return {
    seconds,
    cpuSeconds,
    otherCores: Math.max(0, busyAfter - busyBefore - cpuSeconds) / seconds,
    peakPrivateBytes: peak(),
    stdout,
  };
}

/** Starts a program whose end the caller waits for; `peak` is the private memory seen so far. */
export function startCommand({ args, variables = {}, cwd }: Command): {
  readonly child: ChildProcess;
  readonly peak: () => number;
} {
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  // `env` becomes the program: the process id stays.
  const child = spawn('env', [...assignments, ...args], {
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let peakBytes = 0;
  const timer = setInterval(() => {
    peakBytes = Math.max(peakBytes, privateBytes(child.pid));
  }, SAMPLE_MS);
  const end = undoneInTheEnd(() => void child.kill());
  child.once('exit', () => {
    clearInterval(timer);
    void end();
  });
  child.once('error', () => clearInterval(timer));
  return { child, peak: () => peakBytes };
}

function privateBytes(pid: number | undefined): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // It has just ended.
  }
}

function childrenCpuSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** All processes since boot: user, nice, system, interrupts, stolen; not idle and not waiting for a disk. */
function busyCpuSeconds(): number {
  const fields = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const [user, nice, system, , , interrupt, softInterrupt, stolen] = fields as number[];
  const ticks = [user, nice, system, interrupt, softInterrupt, stolen];
  return ticks.reduce<number>((sum, value) => sum + (value ?? 0), 0) / TICKS_PER_SECOND;
}
