/** What the program stands on: everything that `src/main.ts` takes from the process and hands in. */
import { constants } from 'node:os';
import type { Clock } from '#base';

/** A signal, such as that of Ctrl-C, asked the process to end. */
export class Interruption extends Error {
  override readonly name = 'Interruption';
  /** What shells show for a process that the signal has ended: 130 for `SIGINT`, 143 for `SIGTERM`. */
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

export type Surroundings = {
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  /** Of Holdfast. */
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Aborted by the first Ctrl-C, the reason an `Interruption`. */
  readonly signal: AbortSignal;
  readonly environment: {
    /** `HOLDFAST_PASSWORD`. */
    readonly password: string | undefined;
    /** `HOLDFAST_DEBUG`: shows the stack of an error. */
    readonly showsStacks: boolean;
    readonly temporaryFolder: string;
  };
};
