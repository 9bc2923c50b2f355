/** Runs QEMU's command-line tools: no shell, bounded output, their complaints turned into our errors. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { HoldfastError, throwIfCancelled } from '#base';

export type ToolRun = {
  readonly command: string;
  readonly args: readonly string[];
  /** Takes each line of the output instead of gathering it. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
};

const MAX_OUTPUT_CHARACTERS = 16 * 1024 * 1024;
const MAX_COMPLAINT_CHARACTERS = 4096;

/**
 * Runs a tool to its end.
 *
 * @returns its standard output (empty with `onLine`) if it exits 0, else its complaint.
 * @throws {HoldfastError} `ToolMissing`, `Cancelled` (the tool has been killed).
 */
export async function runTool(
  run: ToolRun,
): Promise<{ readonly output: string } | { readonly complaint: string }> {
  throwIfCancelled(run.signal);
  const child = spawn(run.command, run.args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: run.signal,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  let output = '';
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < MAX_COMPLAINT_CHARACTERS) complaint += text;
  });
  if (run.onLine === undefined) {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_OUTPUT_CHARACTERS) output += text;
    });
  } else {
    createInterface({ input: child.stdout }).on('line', run.onLine);
  }
  try {
    const exitCode = await ended;
    return exitCode === 0 ? { output } : { complaint: complaint.trim() };
  } catch (error) {
    throwIfCancelled(run.signal);
    throw toolError(run.command, error as NodeJS.ErrnoException);
  }
}

export function toolError(command: string, cause: NodeJS.ErrnoException): Error {
  if (cause.code !== 'ENOENT') return cause;
  return new HoldfastError('ToolMissing', `${command} is not installed`, {
    cause,
    details: { tool: command },
  });
}

/** What a complaint of qemu-img or qemu-nbd about an image means. */
export function imageError(path: string, complaint: string): HoldfastError {
  const details = { path };
  if (/Failed to (get|lock)|Is another process using/.test(complaint)) {
    return diskInUse(path, complaint);
  }
  const text = complaint.replaceAll(/^qemu-\w+: /gm, '').replaceAll('\n', '; ');
  if (/not in \S+ format|Unknown driver|not supported|Unsupported|invalid/i.test(complaint)) {
    return new HoldfastError('DiskFormatUnsupported', `"${path}": ${text}`, { details });
  }
  if (complaint.includes('No such file'))
    return new HoldfastError('DiskNotFound', text, { details });
  return new HoldfastError('DiskUnavailable', `"${path}": ${text}`, { details });
}

export function diskInUse(path: string, cause?: string): HoldfastError {
  return new HoldfastError(
    'DiskInUse',
    `"${path}" is in use, probably by a running VM: shut it down, or back it up through its hypervisor`,
    { details: { path }, cause },
  );
}
