/**
 * What a command says when it fails, and its exit code: 1 for a failure, 2 for wrong usage, that of its
 * signal for a cancelled command. One line: what, where, and what to do. Neither knows secrets: no error
 * carries one.
 */
import { HoldfastError, shellQuoted, type ErrorCode } from '#base';
import { plainly } from './output/plain-reason.ts';
import { oneLine } from './output/one-line.ts';
import { Interruption } from './surroundings.ts';
import { ServiceRefusal } from './service/refusal.ts';
import { FailedAfterSteps } from './vm/failed-after-steps.ts';
import { UsageError } from './usage-error.ts';

export type Failure = {
  /** Of `docs/errors.md`, or one of Azure's that the service answered; `Usage` for wrong usage, `Unexpected` for a bug. */
  readonly code: string;
  readonly message: string;
  /** The message, its code in brackets. */
  readonly line: string;
  readonly exitCode: number;
};

/** What to do, where the message of the room that noticed cannot know it. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  BlockMissing: 'run holdfast repo verify',
  KeySlotInvalid: 'put keys/ back from a copy of the repository',
  LogDamaged: 'put the object back from a copy of the repository',
  ObjectDamaged: 'run holdfast repo verify',
  OutputExists: 'choose another output (restore writes over images with --overwrite)',
  OwnerChanged: 'run the command again',
  PasswordMissing: 'pass --password-file FILE or set HOLDFAST_PASSWORD',
  PointNotFound: 'list the points with holdfast repo points',
  RepositoryHeld: 'wait for it to end, or pass --wait SECONDS to wait longer',
};

const PREFIX: Partial<Record<ErrorCode, string>> = { PasswordWrong: 'wrong password: ' };

type FailedCommand = {
  /** Its full name: `holdfast repo backup`. */
  readonly command: string;
  /** Why it was cancelled; if it was and there is none, by Ctrl-C at a question. */
  readonly interruption?: Interruption | undefined;
};

export function failureOf(error: unknown, of: FailedCommand): Failure {
  const { command, interruption = new Interruption('SIGINT') } = of;
  if (error instanceof FailedAfterSteps) return failureOf(error.cause, of);
  if (error instanceof UsageError) return usageFailure(error.message, command);
  if (error instanceof ServiceRefusal) return failure(error.code, withoutStop(error.message), 1);
  if (!(error instanceof HoldfastError)) {
    const message = error instanceof Error ? error.message : String(error);
    const report = 'unexpected: please report it with what HOLDFAST_DEBUG=1 shows';
    return failure('Unexpected', `${plainly(message)} (${report})`, 1);
  }
  const advice = adviceFor(error, command);
  const message = `${PREFIX[error.code] ?? ''}${plainly(error.message)}`;
  const text = advice === undefined ? message : `${message}; ${advice}`;
  if (error.code === 'Cancelled') return failure(error.code, text, interruption.exitCode);
  return failure(error.code, text, error.code === 'PasswordMissing' ? 2 : 1);
}

/** Messages of the API are sentences; ours end with their code. */
function withoutStop(message: string): string {
  return message.trimEnd().replace(/\.$/, '');
}

export function usageFailure(text: string, command: string): Failure {
  const said = text.replace(/\.$/, '');
  const mark = said.endsWith('?') ? '' : ';';
  return failure('Usage', `${said}${mark} ${command} --help explains it`, 2);
}

function failure(code: string, text: string, exitCode: number): Failure {
  const message = oneLine(text);
  return { code, message, line: `${message} [${code}]`, exitCode };
}

/** Where there is no room, by `purpose` in the details; without: for a repository that is there. */
const ROOM: Readonly<Record<string, string>> = {
  // The message says it.
  images: '',
  'new repository': 'make room there or choose another place, then run again',
  scratch: 'make room there or name another folder with --scratch, then run again',
};

function adviceFor(error: HoldfastError, command: string): string | undefined {
  const { needs, formats, purpose = '' } = error.details;
  if (error.code === 'StoreFull') {
    const advice = ROOM[purpose] ?? 'make room (expire and compact need little), then run again';
    return advice === '' ? undefined : advice;
  }
  if (error.code === 'DiskFormatUnsupported' && needs !== undefined) {
    return `pass --allow-file ${shellQuoted(String(needs))}`;
  }
  // Disks of VMs have theirs by their definitions.
  if (formats !== undefined && command.startsWith('holdfast repo ')) {
    return `pass --format DISK=FORMAT: ${String(formats)}`;
  }
  return ADVICE[error.code];
}
