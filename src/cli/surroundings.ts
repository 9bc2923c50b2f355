/** What the program stands on: everything that `src/main.ts` takes from the process and hands in. */
import type { Clock } from '#base';

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
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal;
  readonly environment: {
    /** `HOLDFAST_PASSWORD`. */
    readonly password: string | undefined;
    /** `HOLDFAST_DEBUG`: shows the stack of an error. */
    readonly showsStacks: boolean;
    readonly temporaryFolder: string;
  };
};
