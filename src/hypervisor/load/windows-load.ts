/**
 * The load of a Windows guest, by PowerShell through guest-exec: its agent has no command for it. The names of the
 * classes and their fields are the same in every language of Windows.
 */
import { isHoldfastError } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import { cpuShare, share, type GuestLoad, type LoadQuestion } from './load-shares.ts';

/** PowerShell alone takes seconds to start in a guest that is busy. */
const TIME_MS = 60_000;

/** Prints idle time and time (100 ns) of a first and a second reading, the CPUs, and memory: all and free (KiB). */
const SCRIPT = [
  `$ErrorActionPreference = 'Stop'`,
  'function Read-Cpus {',
  `  $cpus = @(Get-CimInstance Win32_PerfRawData_PerfOS_Processor -Filter "Name <> '_Total'")`,
  '  [decimal]($cpus | Measure-Object PercentProcessorTime -Sum).Sum, [decimal]$cpus[0].Timestamp_Sys100NS, $cpus.Count',
  '}',
  '$a = Read-Cpus',
  'Start-Sleep -Milliseconds 500',
  '$b = Read-Cpus',
  '$os = Get-CimInstance Win32_OperatingSystem',
  '"$($a[0]) $($a[1]) $($b[0]) $($b[1]) $($b[2]) $($os.TotalVisibleMemorySize) $($os.FreePhysicalMemory)"',
].join('\n');

const UNKNOWN: GuestLoad = { cpu: undefined, memory: undefined };

export async function windowsLoad(agent: GuestAgent, { signal }: LoadQuestion): Promise<GuestLoad> {
  const encoded = Buffer.from(SCRIPT, 'utf16le').toString('base64');
  try {
    const { exitCode, stdout } = await agent.exec({
      path: 'powershell.exe',
      args: ['-NoProfile', '-NonInteractive', '-EncodedCommand', encoded],
      timeoutMs: TIME_MS,
      signal,
    });
    return exitCode === 0 ? loadOfReadings(stdout.toString('latin1')) : UNKNOWN;
  } catch (error) {
    if (!isHoldfastError(error, 'AgentFailed')) throw error;
    return UNKNOWN;
  }
}

/** Of what `SCRIPT` prints. */
export function loadOfReadings(text: string): GuestLoad {
  const words = text.trim().split(/\s+/);
  const numbers = words.map(Number);
  if (numbers.length !== 7 || !numbers.every(Number.isFinite)) return UNKNOWN;
  const [idle, time, idleLater, timeLater, cpus, allKib, freeKib] = numbers as Seven;
  const before = { idle, all: time * cpus };
  const after = { idle: idleLater, all: timeLater * cpus };
  return { cpu: cpuShare(before, after), memory: share(1 - freeKib / allKib) };
}

type Seven = [number, number, number, number, number, number, number];
