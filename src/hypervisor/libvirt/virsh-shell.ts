/**
 * A `virsh` that stays, fed one command after the other on its standard input: a command takes less than a
 * millisecond instead of the 33 of a process of its own, which counts most while a guest is frozen.
 *
 * Between commands it prints marks, on both of its outputs, and what lies between them belongs to one command:
 *
 * ```
 *   echo 'B''7'; COMMAND; echo 'E''7'     ─► prompt, this line again, B7, the output, E7
 *   echo 'F''7'                           ─► F7: all was said, also where the line above was not understood
 *   echo --err 'F''7'                     ─► error: F7
 * ```
 *
 * The marks are written in two pieces, so that the line as virsh repeats it does not contain them. A command has
 * failed if virsh complained of an error: a shell shows no exit codes.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { Socket } from 'node:net';
import {
  isVirshMissing,
  MAX_OUTPUT_CHARACTERS,
  type RunningCommand,
  type VirshAnswer,
} from './virsh-process.ts';

type Waiting = {
  readonly mark: string;
  readonly resolve: (answer: VirshAnswer) => void;
};

export class VirshShell {
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #commands = 0;
  #waiting: Waiting | undefined;
  #isUsable = true;

  constructor(uri: string) {
    const variables = ['LC_ALL=C', 'TERM=dumb', 'VIRSH_HISTSIZE=0'];
    this.#child = spawn('env', [...variables, 'virsh', '-q', '-k', '0', '-c', uri], {
      stdio: 'pipe',
      // Ctrl-C on the terminal is for us: what was begun has to be undone through this very process.
      detached: true,
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      if (this.#stdout.length < MAX_OUTPUT_CHARACTERS) this.#stdout += text;
      this.#look();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      if (this.#stderr.length < MAX_OUTPUT_CHARACTERS) this.#stderr += text;
      this.#look();
    });
    // Written to a process that has just ended; its end is what counts.
    this.#child.stdin!.on('error', () => {});
    this.#child.once('error', () => this.#onEnd(null));
    this.#child.once('close', (exitCode) => this.#onEnd(exitCode));
    this.#hold(false);
  }

  /** False: it has ended, or lost libvirt. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /** Whether a line can carry it. */
  static canRun(args: readonly string[]): boolean {
    // Control characters end the line, or mean something to readline.
    return args.every((arg) => !/\p{Cc}/u.test(arg));
  }

  /** One at a time. */
  start(args: readonly string[]): RunningCommand {
    const mark = `${(this.#commands += 1)}holdfast`;
    this.#stdout = '';
    this.#hold(true);
    const answer = new Promise<VirshAnswer>((resolve) => {
      this.#waiting = { mark, resolve };
    });
    const line = args.map(quoted).join(' ');
    this.#child.stdin!.write(
      `echo 'B''${mark}'; ${line}; echo 'E''${mark}'\necho 'F''${mark}'\necho --err 'F''${mark}'\n`,
    );
    return { answer, kill: () => this.#kill() };
  }

  /** Ends it; a command that runs ends too. */
  close(): void {
    this.#isUsable = false;
    if (this.#waiting === undefined) this.#child.stdin!.end();
    else this.#kill();
  }

  #kill(): void {
    this.#isUsable = false;
    this.#child.kill('SIGKILL');
  }

  #look(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      // Nobody asked: it says that it has lost libvirt.
      if (this.#stderr.trim() !== '') this.close();
      return;
    }
    const end = `F${waiting.mark}`;
    if (!this.#stdout.includes(end) || !this.#stderr.includes(`${end}\n`)) return;
    const complaint = this.#stderr.replace(`error: ${end}\n`, '');
    if (/Disconnected|Reconnected/.test(complaint)) this.#isUsable = false;
    this.#answer(waiting, {
      isRefused: /^error:/m.test(complaint),
      isMissing: false,
      output: between(this.#stdout, `B${waiting.mark}`, `E${waiting.mark}`),
      complaint,
    });
  }

  #onEnd(exitCode: number | null): void {
    this.#isUsable = false;
    if (this.#waiting === undefined) return;
    const complaint = this.#stderr;
    this.#answer(this.#waiting, {
      isRefused: true,
      isMissing: isVirshMissing(exitCode, complaint),
      output: '',
      complaint: complaint || 'error: virsh has ended by itself',
    });
  }

  #answer(waiting: Waiting, answer: VirshAnswer): void {
    this.#waiting = undefined;
    this.#stderr = '';
    this.#hold(false);
    waiting.resolve(answer);
  }

  /** While nothing is asked of it, it does not keep this process from ending; it ends then too. */
  #hold(isHeld: boolean): void {
    const { stdin, stdout, stderr } = this.#child;
    const parts = [this.#child, stdin, stdout, stderr];
    for (const part of parts) {
      if (part === this.#child || part instanceof Socket) {
        if (isHeld) (part as ChildProcess | Socket).ref();
        else (part as ChildProcess | Socket).unref();
      }
    }
  }
}

/** In single quotes virsh takes everything as it is. */
function quoted(arg: string): string {
  return `'${arg.replaceAll("'", `'\\''`)}'`;
}

/** Empty where the line was not understood, so that nothing of it ran. */
function between(text: string, begin: string, end: string): string {
  const from = text.indexOf(begin);
  const to = text.lastIndexOf(end);
  return from < 0 || to < from ? '' : text.slice(from + begin.length, to);
}
