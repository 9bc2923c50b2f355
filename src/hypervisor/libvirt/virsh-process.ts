/** `virsh` as one process for one command: it has its own exit code, and ends with its command. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export type VirshAnswer = {
  readonly isRefused: boolean;
  /** Env(1) found no virsh. */
  readonly isMissing: boolean;
  readonly output: string;
  readonly complaint: string;
};

export type RunningCommand = {
  readonly answer: Promise<VirshAnswer>;
  /** Ends it, whatever it does. */
  kill(): void;
};

export const MAX_OUTPUT_CHARACTERS = 64 * 1024 * 1024;
/** What env(1) exits with where it finds no virsh. */
const NOT_FOUND = 127;

export function isVirshMissing(exitCode: number | null, complaint: string): boolean {
  return exitCode === NOT_FOUND && complaint.includes('virsh');
}

export function startVirsh(uri: string, args: readonly string[]): RunningCommand {
  // The complaints are read: they must be English. virsh asks for no password without a terminal.
  const child = spawn('env', ['LC_ALL=C', 'virsh', '-q', '-c', uri, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [output, complaint] = [gather(child.stdout), gather(child.stderr)];
  const answer = new Promise<VirshAnswer>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) =>
      resolve({
        isRefused: exitCode !== 0,
        isMissing: isVirshMissing(exitCode, complaint()),
        output: output(),
        complaint: complaint(),
      }),
    );
  });
  return { answer, kill: () => void child.kill('SIGKILL') };
}

function gather(stream: Readable): () => string {
  let all = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    if (all.length < MAX_OUTPUT_CHARACTERS) all += text;
  });
  return () => all;
}
