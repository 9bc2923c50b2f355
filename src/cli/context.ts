/** What one command works with: its options in common with all others, and access to the repository. */
import { isHoldfastError } from '#base';
import { withRepository, type Caller, type RepositoryRequest } from '#backup';
import { canPrompt, promptSecret } from './password/prompt.ts';
import { readPasswordFile } from './password/find-password.ts';
import { Terminal } from './output/terminal.ts';
import type { Surroundings } from './surroundings.ts';
import { UsageError } from './usage-error.ts';

/** As commander gives them. */
export type CommonOptions = {
  readonly json?: boolean;
  readonly passwordFile?: string;
  /** False with `--no-encryption`. */
  readonly encryption: boolean;
  readonly waitMs: number;
};

type Target = Pick<RepositoryRequest, 'location' | 'access' | 'freesSpace'>;
type OpenRepository = Parameters<Parameters<typeof withRepository>[1]>[0];

export class Context {
  readonly surroundings: Surroundings;
  readonly terminal: Terminal;
  readonly options: CommonOptions;
  readonly caller: Caller;

  /** `command`: how others see who holds the repository: "holdfast repo backup". */
  constructor(surroundings: Surroundings, options: CommonOptions, command: string) {
    const { clock, random, version, host, pid } = surroundings;
    const terminal = new Terminal(surroundings, { isJson: options.json === true });
    this.surroundings = surroundings;
    this.options = options;
    this.terminal = terminal;
    this.caller = { clock, random, version, warn: terminal.warn, process: { host, pid, command } };
  }

  get signal(): AbortSignal {
    return this.surroundings.signal;
  }

  /** The password that was given without a question; undefined if none was. */
  async givenPassword(): Promise<string | undefined> {
    const { encryption, passwordFile } = this.options;
    if (!encryption) {
      if (passwordFile === undefined) return undefined;
      throw new UsageError('--no-encryption and --password-file contradict each other');
    }
    if (passwordFile !== undefined) return await readPasswordFile(passwordFile);
    const { password } = this.surroundings.environment;
    return password === '' ? undefined : password;
  }

  /** Opens the repository, asking for the password where one is needed and somebody is there. */
  async withRepository<Result>(
    target: Target,
    use: (repository: OpenRepository) => Promise<Result>,
  ): Promise<Result> {
    return await this.withRequest(target, async (request) => await withRepository(request, use));
  }

  /** The same for an operation that opens the repository by itself. */
  async withRequest<Result>(
    target: Target,
    run: (request: RepositoryRequest) => Promise<Result>,
  ): Promise<Result> {
    const request = {
      ...target,
      password: await this.givenPassword(),
      waitMs: this.options.waitMs,
      signal: this.signal,
      caller: this.caller,
    };
    this.terminal.announce('opening the repository');
    try {
      return await run(request);
    } catch (error) {
      this.terminal.clearProgress();
      const mayAsk = this.options.encryption && canPrompt(this.surroundings);
      if (!isHoldfastError(error, 'PasswordMissing') || !mayAsk) throw error;
    }
    const password = await promptSecret(this.surroundings, `Password of ${target.location}: `);
    return await run({ ...request, password });
  }
}
