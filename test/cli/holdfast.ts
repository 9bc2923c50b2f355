/** Runs the real `bin/holdfast`, as a user would, in folders of its own. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export const HOLDFAST = resolve('bin/holdfast');
export const PASSWORD = 'correct horse';
export const MEBIBYTE = 1024 ** 2;

export type Run = {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  /** Absent: `PASSWORD`, if not `withoutPasswords`; null: none. */
  readonly password?: string | null;
  readonly cwd?: string;
  readonly input?: string;
  /** As somebody whom file permissions bind, root too. */
  readonly isBoundByPermissions?: boolean;
  /** Variables beside those of this process. */
  readonly variables?: Readonly<Record<string, string>>;
};

let usualPassword: string | null = PASSWORD;

/** For a file of tests that are not about passwords: each costs a fifth of a second to try. */
export function withoutPasswords(): void {
  usualPassword = null;
}

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function start(
  args: readonly string[],
  options: RunOptions = {},
): ChildProcessWithoutNullStreams {
  const { HOLDFAST_PASSWORD: _, ...inherited } = process.env;
  const password = options.password === undefined ? usualPassword : options.password;
  const env = {
    ...inherited,
    ...(password === null ? {} : { HOLDFAST_PASSWORD: password }),
    ...options.variables,
  };
  const isRoot = process.getuid?.() === 0;
  if (options.isBoundByPermissions !== true || !isRoot) {
    return spawn(HOLDFAST, args, { cwd: options.cwd, env });
  }
  const lost = '-dac_override,-dac_read_search,-fowner';
  return spawn('setpriv', ['--bounding-set', lost, HOLDFAST, ...args], { cwd: options.cwd, env });
}

/** A command on a terminal: what it shows there, and a way to answer. */
export class TerminalSession {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<number | null>;
  shown = '';

  constructor(args: readonly string[], options: RunOptions = {}) {
    const line = [HOLDFAST, ...args].map((word) => `'${word}'`).join(' ');
    const { HOLDFAST_PASSWORD: _, ...inherited } = process.env;
    const password = options.password ?? null;
    this.#child = spawn('script', ['-qec', `stty cols 200; exec ${line}`, '/dev/null'], {
      env: {
        ...inherited,
        SHELL: '/bin/sh',
        TERM: 'xterm',
        ...(password === null ? {} : { HOLDFAST_PASSWORD: password }),
      },
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.shown += text));
    this.#closed = new Promise((settle) => this.#child.once('close', settle));
  }

  /** Waits until the pattern is shown, then types. */
  async answer(pattern: RegExp, keys: string): Promise<void> {
    for (let tries = 0; tries < 200; tries += 1) {
      if (pattern.test(this.shown)) {
        await sleep(100); // The question is shown just before the echo is off.
        this.#child.stdin.write(keys);
        return;
      }
      await sleep(50);
    }
    assert.fail(`never shown: ${pattern}; but: ${this.shown}`);
  }

  /** @returns the exit code. */
  async end(): Promise<number | null> {
    const code = await this.#closed;
    this.#child.stdin.destroy();
    return code;
  }
}

export async function ended(child: ChildProcessWithoutNullStreams): Promise<Run> {
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((settle, reject) => {
    child.once('error', reject);
    child.once('close', settle);
  });
  return { code, stdout, stderr };
}

export async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const child = start(args, options);
  child.stdin.end(options.input ?? '');
  return await ended(child);
}

/** Runs a command that must succeed. */
export async function succeed(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const result = await run(args, options);
  assert.equal(result.code, 0, `holdfast ${args.join(' ')}: ${result.stderr}`);
  return result;
}

/** Runs a command with `--json` that must succeed, and say nothing beside its document. */
export async function json<Shape>(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Shape> {
  const { stdout, stderr } = await succeed([...args, '--json'], options);
  assert.equal(stderr, '');
  return JSON.parse(stdout) as Shape;
}

/**
 * That a command fails with this exit code, says one line that matches and names its code, and prints no
 * result.
 */
export async function fail(
  args: readonly string[],
  expected: { readonly code: 1 | 2; readonly says: RegExp },
  options: RunOptions = {},
): Promise<void> {
  const result = await run(args, options);
  assert.match(
    result.stderr,
    /^holdfast: [^\n]* \[\w+\]\n$/,
    'exactly one line, its code at the end',
  );
  assert.match(result.stderr, expected.says);
  assert.equal(result.code, expected.code, result.stderr);
  assert.equal(result.stdout, '');
}

/** Bytes that do not compress; the same for the same seed. */
export function noise(sizeBytes: number, seed = 1): Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(sizeBytes));
}

/** Writes a raw image: data, a hole, data. */
export function writeDisk(
  path: string,
  options: { sizeBytes?: number; seed?: number } = {},
): Buffer {
  const { sizeBytes = 4 * MEBIBYTE, seed = 1 } = options;
  const content = Buffer.alloc(sizeBytes);
  noise(sizeBytes / 4, seed).copy(content);
  noise(sizeBytes / 4, seed + 1).copy(content, sizeBytes / 2);
  writeFileSync(path, content);
  return content;
}
