/** Asks on the terminal: for a secret without showing it, or a question that is answered in the open. */
import { HoldfastError } from '#base';
import type { Surroundings } from '../surroundings.ts';

type Streams = Pick<Surroundings, 'stdin' | 'stderr' | 'signal'>;

const ENTER = new Set(['\r', '\n']);
const BACKSPACE = new Set(['\u007f', '\b']);
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const CTRL_U = '\u0015';
const ESCAPE = '\u001b';
/** What keys send that write nothing. */
const ESCAPE_SEQUENCE = new RegExp(`${ESCAPE}(\\[[0-9;]*[A-Za-z~]|.)?`, 'gu');

/** Whether somebody is there who can be asked. */
export function canPrompt({ stdin, stderr }: Streams): boolean {
  return stdin.isTTY && stderr.isTTY;
}

/**
 * Shows `question` on standard error and reads a line.
 *
 * @throws {HoldfastError} `Cancelled` on Ctrl-C; `PasswordMissing` on an empty answer or Ctrl-D.
 */
export async function promptSecret(streams: Streams, question: string): Promise<string> {
  const { stdin, stderr } = streams;
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  try {
    const answer = await readLine(streams);
    if (answer === '') throw new HoldfastError('PasswordMissing', 'no password was entered');
    return answer;
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** Shows `question` on standard error and reads a line, which the terminal shows. @throws {HoldfastError} `Cancelled` */
export async function promptLine(streams: Streams, question: string): Promise<string> {
  const { stdin, stderr } = streams;
  stderr.write(question);
  stdin.setEncoding('utf8');
  try {
    return await readLine(streams);
  } finally {
    stdin.pause();
  }
}

/** @throws {HoldfastError} as `promptSecret`; `ArgumentInvalid` if the two answers differ. */
export async function promptNewSecret(streams: Streams, question: string): Promise<string> {
  const first = await promptSecret(streams, `${question}: `);
  const second = await promptSecret(streams, 'The same again: ');
  if (first !== second) {
    throw new HoldfastError('ArgumentInvalid', 'the two passwords differ; nothing was changed');
  }
  return first;
}

async function readLine({ stdin, signal }: Streams): Promise<string> {
  return await new Promise((resolve, reject) => {
    let line = '';
    const end = (settle: () => void): void => {
      stdin.off('data', take);
      stdin.off('end', ended);
      signal.removeEventListener('abort', cancelled);
      settle();
    };
    const cancelled = (): void =>
      end(() => reject(new HoldfastError('Cancelled', 'nothing was entered')));
    const ended = (): void => end(() => resolve(line));
    const take = (text: string): void => {
      for (const character of text.replaceAll(ESCAPE_SEQUENCE, '')) {
        if (character === CTRL_C) return cancelled();
        if (character === CTRL_D || ENTER.has(character)) return ended();
        line = edited(line, character);
      }
    };
    stdin.on('data', take);
    stdin.on('end', ended);
    signal.addEventListener('abort', cancelled, { once: true });
    stdin.resume();
  });
}

function edited(line: string, character: string): string {
  if (character === CTRL_U) return '';
  if (BACKSPACE.has(character)) return Array.from(line).slice(0, -1).join('');
  return character < ' ' ? line : line + character;
}
