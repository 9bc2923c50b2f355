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

/** What the environment says of the service; every variable may be missing or empty. */
export type ServiceEnvironment = {
  /** `HOLDFAST_DATA` */
  readonly data: string | undefined;
  /** `HOLDFAST_URL` and its companions. */
  readonly url: string | undefined;
  readonly caFile: string | undefined;
  readonly tenantId: string | undefined;
  readonly subscriptionId: string | undefined;
  readonly clientId: string | undefined;
  readonly clientSecret: string | undefined;
  /** The data folder of `npm start`, in the user's state folder; undefined where that is not known. */
  readonly usualData: string | undefined;
};

export type ServeOptions = {
  /** The data folder. */
  readonly data: string;
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** The owner's certificate and its key, PEM files. */
  readonly certificate: { readonly certificate: string; readonly key: string } | undefined;
  readonly hasManagedIdentity: boolean;
  /** Else only warnings and errors. */
  readonly logsAll: boolean;
};

export type RunningService = {
  readonly url: string;
  readonly host: string;
  readonly caFile: string | undefined;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly adminFile: string;
  readonly isFirstStart: boolean;
  readonly close: () => Promise<void>;
};

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
  /** Runs the service with its API: the rooms that this one does not know. */
  readonly serve: (options: ServeOptions) => Promise<RunningService>;
  readonly environment: {
    /** `HOLDFAST_PASSWORD`. */
    readonly password: string | undefined;
    /** `HOLDFAST_DEBUG`: shows the stack of an error. */
    readonly showsStacks: boolean;
    readonly temporaryFolder: string;
    readonly service: ServiceEnvironment;
  };
};
