/**
 * Several worker threads that do the same: start, work off jobs together, end. The first failure of one
 * stops the others, and is thrown when all are idle.
 */
import type { CallTable } from './call-port.ts';
import { startWorker, type WorkerThread } from './worker-thread.ts';

/** Calls that every worker of a crew answers. */
export type CrewCalls = CallTable & {
  /** Makes what is under way, and all that follows, fail with `Cancelled`. */
  readonly stop: (reason: undefined) => void;
  /** Releases what the thread holds. */
  readonly close: (reason: undefined) => Promise<void>;
};

export class Crew<Calls extends CrewCalls> {
  readonly #workers: readonly WorkerThread<CrewCalls>[];

  private constructor(workers: readonly WorkerThread<CrewCalls>[]) {
    this.#workers = workers;
  }

  /** Starts the threads, which takes them a while; calls wait for it. The caller ends them. */
  static start<Calls extends CrewCalls>(options: {
    /** Of the worker's entry file. */
    readonly url: URL;
    readonly threads: number;
    /** The handlers of one thread's calls. */
    readonly handlers: () => CallTable;
  }): Crew<Calls> {
    const { url, threads, handlers } = options;
    return new Crew<Calls>(Array.from({ length: threads }, () => startWorker(url, handlers())));
  }

  get ports(): readonly WorkerThread<Calls>['port'][] {
    return this.#workers.map(({ port }) => port as unknown as WorkerThread<Calls>['port']);
  }

  /** Does the same with every thread at once. @throws the first failure, when all have ended. */
  async each(act: (port: WorkerThread<Calls>['port']) => Promise<void>): Promise<void> {
    const failures: Error[] = [];
    await Promise.all(
      this.ports.map(async (port) => {
        try {
          await act(port);
        } catch (error) {
          failures.push(error as Error);
          this.stop();
        }
      }),
    );
    if (failures[0] !== undefined) throw failures[0];
  }

  /** Each thread takes the next job until there is none (undefined) or a pause is wanted. */
  async work<Job>(options: {
    readonly next: () => Promise<Job | undefined>;
    readonly run: (port: WorkerThread<Calls>['port'], job: Job) => Promise<void>;
    readonly isPaused?: () => boolean;
  }): Promise<void> {
    const { next, run, isPaused } = options;
    await this.each(async (port) => {
      while (isPaused?.() !== true) {
        const job = await next();
        if (job === undefined) return;
        await run(port, job);
      }
    });
  }

  stop(): void {
    for (const { port } of this.#workers) port.tell('stop', undefined);
  }

  /** Ends the threads, after letting each close what it holds. Idempotent. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#workers.map(({ port }) => port.call('close', undefined)));
    for (const worker of this.#workers) await worker.terminate();
  }
}
