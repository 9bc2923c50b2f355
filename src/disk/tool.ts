/** Runs QEMU's command-line tools: no shell, bounded output, their complaints turned into our errors. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { HoldfastError, throwIfCancelled, type ErrorCode } from '#base';
import { FORMATS_TO_NAME } from './image-format.ts';
import { findImageServer } from './server-folder.ts';

export type ToolRun = {
  readonly command: string;
  readonly args: readonly string[];
  /** Takes each line of the output instead of gathering it. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** The folder that it runs in; absent: ours. */
  readonly cwd?: string;
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
    cwd: run.cwd,
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

export function toolError(command: string, cause: NodeJS.ErrnoException): HoldfastError {
  const message =
    cause.code === 'ENOENT'
      ? `${command} is not installed: install it, then run again`
      : `${command} cannot be started: check its installation, then run again (${cause.message})`;
  return new HoldfastError('ToolMissing', message, { cause, details: { tool: command } });
}

/**
 * What a complaint of qemu-img or qemu-nbd about an image means: in our words, theirs in parentheses.
 *
 * @param doing as in "cannot … IMAGE": `open`.
 */
export function imageError(
  doing: string,
  image: { readonly path: string; readonly format: string },
  complaint: string,
): HoldfastError {
  const { path, format } = image;
  if (/Failed to (get|lock)|Is another process using/.test(complaint)) {
    return diskInUse(path, complaint);
  }
  const text = complaint.replaceAll(/^qemu-\w+: /gm, '').replaceAll('\n', '; ');
  const failed = (code: ErrorCode, advice: string, details = {}): HoldfastError =>
    new HoldfastError(code, `cannot ${doing} "${path}" as ${format}: ${advice} (${text})`, {
      details: { path, ...details },
    });
  if (/not in \S+ format|Unknown driver|not supported|Unsupported|invalid/i.test(complaint)) {
    const other = 'if it has another format, name that; else the image is damaged';
    const advice = `${other}, or of a kind that QEMU does not read`;
    return failed('DiskFormatUnsupported', advice, { formats: FORMATS_TO_NAME });
  }
  if (complaint.includes('No such file')) {
    return failed('DiskNotFound', 'a file that it needs is missing: put it back');
  }
  if (complaint.includes('Permission denied')) {
    return failed('DiskUnavailable', 'no permission: run as a user who may read it');
  }
  return failed('DiskUnavailable', 'look at it with qemu-img check, then run again');
}

export function diskInUse(path: string, cause?: string): HoldfastError {
  return new HoldfastError('DiskInUse', `"${path}" is ${useOf(path)}`, {
    details: { path },
    cause,
  });
}

/** Who has the image open and what to do, to follow "PATH is". */
export function useOf(path: string): string {
  const server = findImageServer(path);
  if (server === undefined) {
    return 'in use, probably by a running VM: shut it down, or back it up through its hypervisor';
  }
  const { processId, isLeft } = server;
  return isLeft
    ? `in use by process ${processId}, the qemu-nbd of a Holdfast command that was killed: if it is still there, end it (kill ${processId}), then run again`
    : `in use by another Holdfast command, through its qemu-nbd, process ${processId}: run again when that has ended`;
}
