/** A guest in memory behind a scripted agent: files, freezing, scripts, as Linux or Windows; every answer can be set. */
import type { Answer, Call } from '../../agent/testing/scripted-agent.ts';
import { refusal } from '../../agent/testing/scripted-agent.ts';

type Exit = { readonly code: number; readonly out?: string; readonly err?: string };

export class ModelGuest {
  readonly family: 'linux' | 'windows';
  readonly files = new Map<string, Buffer>();
  /** As `ls` shows them; absent: what a freshly installed file has. */
  readonly modes = new Map<string, string>();
  /** File systems frozen now; the agent's own belief is `agentFrozen`. */
  frozen = 0;
  agentFrozen = false;
  fileSystems = 2;
  /** Answers that are not the usual ones, by command, used up one by one. */
  readonly next = new Map<string, Answer[]>();
  /** What programs give, by a text that their arguments contain. */
  readonly exits = new Map<string, Exit>();
  readonly programs: string[] = [];
  /** Shares in use, of a Linux guest; absent: its agent does not tell. */
  load: { readonly cpu: number; readonly memory: number } | undefined;
  #cpuMs = { idle: 0, user: 0 };
  #handles = new Map<number, { path: string; read: number }>();
  #exits = new Map<number, Exit>();
  #lastId = 100;

  constructor(family: 'linux' | 'windows') {
    this.family = family;
  }

  readonly script = ({ command, args }: Call): Answer => {
    const set = this.next.get(command)?.shift();
    if (set !== undefined) return set;
    const isFreezing = command.startsWith('guest-fsfreeze') || command === 'guest-ping';
    if (this.agentFrozen && !isFreezing) {
      return refusal(
        `Command ${command} has been disabled: the agent is in frozen state`,
        'CommandNotFound',
      );
    }
    if (command.startsWith('guest-fsfreeze')) return this.#freezing(command);
    if (command.startsWith('guest-file')) return this.#file(command, args);
    if (command.startsWith('guest-exec')) return this.#exec(command, args);
    if (command === 'guest-ping') return { return: {} };
    return this.#facts(command);
  };

  #facts(command: string): Answer {
    if (command === 'guest-get-osinfo') {
      return { return: { id: this.family === 'windows' ? 'mswindows' : 'debian' } };
    }
    if (command === 'guest-get-cpustats' && this.load !== undefined) return this.#cpus(this.load);
    return refusal(`The command ${command} has not been found`, 'CommandNotFound');
  }

  /** Each look is a second later. */
  #cpus({ cpu, memory }: NonNullable<ModelGuest['load']>): Answer {
    this.#cpuMs.user += 1000 * cpu;
    this.#cpuMs.idle += 1000 * (1 - cpu);
    const available = Math.round(1e6 * (1 - memory));
    const text = `MemTotal: 1000000 kB\nMemAvailable: ${available} kB\n`;
    this.files.set('/proc/meminfo', Buffer.from(text));
    return { return: [{ type: 'linux', cpu: 0, system: 0, ...this.#cpuMs }] };
  }

  #freezing(command: string): Answer {
    if (command.endsWith('status')) return { return: this.agentFrozen ? 'frozen' : 'thawed' };
    const count = command.endsWith('freeze') ? this.fileSystems : this.frozen;
    this.agentFrozen = command.endsWith('freeze');
    this.frozen = this.agentFrozen ? this.fileSystems : 0;
    return { return: count };
  }

  #file(command: string, args: Call['args']): Answer {
    if (command === 'guest-file-open') {
      const path = args['path'] as string;
      if (args['mode'] === 'w') this.files.set(path, Buffer.alloc(0));
      if (!this.files.has(path)) return refusal(`failed to open file '${path}'`);
      this.#handles.set((this.#lastId += 1), { path, read: 0 });
      return { return: this.#lastId };
    }
    const handle = this.#handles.get(args['handle'] as number);
    if (handle === undefined) return refusal('handle not found');
    const content = this.files.get(handle.path)!;
    if (command === 'guest-file-write') {
      const piece = Buffer.from(args['buf-b64'] as string, 'base64');
      this.files.set(handle.path, Buffer.concat([content, piece]));
      return { return: { count: piece.length, eof: false } };
    }
    if (command === 'guest-file-read') {
      const piece = content.subarray(handle.read, handle.read + (args['count'] as number));
      handle.read += piece.length;
      const isEnd = handle.read === content.length;
      return { return: { count: piece.length, 'buf-b64': piece.toString('base64'), eof: isEnd } };
    }
    return { return: {} };
  }

  #exec(command: string, args: Call['args']): Answer {
    if (command === 'guest-exec-status') {
      const exit = this.#exits.get(args['pid'] as number)!;
      const out = Buffer.from(exit.out ?? '').toString('base64');
      const err = Buffer.from(exit.err ?? '').toString('base64');
      return { return: { exited: true, exitcode: exit.code, 'out-data': out, 'err-data': err } };
    }
    const words = [args['path'] as string, ...(args['arg'] as string[])].join(' ');
    this.programs.push(words);
    this.#exits.set((this.#lastId += 1), this.#run(words, args['arg'] as string[]));
    return { return: { pid: this.#lastId } };
  }

  #run(words: string, args: readonly string[]): Exit {
    for (const [text, exit] of this.exits) if (words.includes(text)) return exit;
    const last = args.at(-1) ?? '';
    if (words.includes('.new')) {
      for (const [path, content] of this.files) {
        if (!path.endsWith('.new')) continue;
        this.files.delete(path);
        this.files.set(path.slice(0, -'.new'.length), content);
      }
    }
    if (words.startsWith('/bin/ls'))
      return { code: 0, out: 'drwx------ 2 0 0 1 x\n-rwx------ 1 0 0 1 x\n' };
    if (words.includes('exit 44')) {
      if (!this.files.has(last)) return { code: 44 };
      return { code: 0, out: `${this.modes.get(last) ?? '-rwx------ 1 0'} 0 1 Jan 1 ${last}\n` };
    }
    return { code: 0 };
  }
}
