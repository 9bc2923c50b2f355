/**
 * The worker threads of a backup, seen from the main thread.
 *
 *     start ──begin──► idle ──work──► idle ──flush, renew──► idle … ──end──► gone
 *
 * The first failure of one stops all; what they had sealed by then can still be flushed.
 */
import type { DiskSpec } from '#disk';
import {
  receivedFrames,
  receivedPack,
  type IndexViewData,
  type SealedPack,
  type SessionThreadData,
  type WaitingFrames,
} from '#repository';
import { startWorker, type WorkerThread } from '../threads/worker-thread.ts';
import type { BackupMainCalls, BackupWorkerCalls, DamagedPlace } from './backup-calls.ts';

export type CrewEvents = {
  readonly onSealed: (pack: SealedPack) => void;
  readonly onDamage: (copy: DamagedPlace) => void;
  /** Makes a view of the index for a thread. */
  readonly view: () => Promise<IndexViewData>;
  readonly release: (view: IndexViewData) => Promise<void>;
};

/** What all threads do: each takes the next job till there is none or a pause is wanted. */
export type CrewWork<Job, Result> = {
  readonly call: 'backUp' | 'audit';
  readonly next: () => Promise<Job | undefined>;
  readonly take: (result: Result) => void;
  readonly isPaused: () => boolean;
};

type Worker = WorkerThread<BackupWorkerCalls>;

export class BackupCrew {
  readonly #workers: readonly Worker[];
  #events: CrewEvents | undefined;

  private constructor(start: (crew: BackupCrew) => Worker, threads: number) {
    this.#workers = Array.from({ length: threads }, () => start(this));
  }

  /** Starts the threads, which takes them a while; `begin` gives them work. The caller ends them. */
  static start(threads: number): BackupCrew {
    return new BackupCrew((crew) => {
      const views: IndexViewData[] = [];
      return startWorker(new URL('./backup.worker.ts', import.meta.url), crew.#handlers(views));
    }, threads);
  }

  #handlers(views: IndexViewData[]): BackupMainCalls {
    return {
      sealed: (pack) => this.#events!.onSealed(receivedPack(pack)),
      damaged: (copy) => {
        this.#events!.onDamage(copy);
        this.avoid([copy]);
      },
      view: async () => {
        const view = await this.#events!.view();
        views.push(view);
        return view;
      },
      viewOpened: async () => {
        const view = views.shift();
        if (view !== undefined) await this.#events!.release(view);
      },
    };
  }

  /** Gives the threads the session and the disks; the view in `session` is released on return. */
  async begin(
    data: {
      readonly session: SessionThreadData;
      readonly disks: readonly DiskSpec[];
      readonly done: SharedArrayBuffer;
    },
    events: CrewEvents,
  ): Promise<void> {
    this.#events = events;
    await this.#all((worker) => worker.port.call('begin', data));
    await events.release(data.session.view);
  }

  /** Has jobs done until there are none, or `isPaused`. @throws the first failure, when all are idle. */
  async work<Job, Result>({ call, next, take, isPaused }: CrewWork<Job, Result>): Promise<void> {
    await this.#all(async ({ port }) => {
      while (!isPaused()) {
        const job = await next();
        if (job === undefined) return;
        take((await port.call(call, job as never)) as Result);
      }
    });
  }

  /** As `SessionThread.flush` on every thread; all are idle. */
  async flush(options: { readonly sealAll: boolean }): Promise<WaitingFrames[]> {
    const frames: WaitingFrames[] = [];
    await this.#all(async ({ port }) => {
      frames.push(receivedFrames(await port.call('flush', options)));
    });
    return frames;
  }

  /** Seals what can be sealed after a failure; a thread that cannot loses what it had not sealed. */
  async salvage(): Promise<void> {
    await Promise.allSettled(
      this.#workers.map(({ port }) => port.call('flush', { sealAll: true })),
    );
  }

  async renew(view: IndexViewData): Promise<void> {
    await this.#all((worker) => worker.port.call('renew', view));
    await this.#events?.release(view);
  }

  /** From now on no thread relies on these copies. */
  avoid(copies: readonly DamagedPlace[]): void {
    for (const { port } of this.#workers) port.tell('avoid', copies);
  }

  /** Makes what is under way fail with `Cancelled`. */
  stop(): void {
    for (const { port } of this.#workers) port.tell('stop', undefined);
  }

  /** Ends the threads. Idempotent. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#workers.map(({ port }) => port.call('close', undefined)));
    for (const worker of this.#workers) await worker.terminate();
  }

  async #all(act: (worker: Worker) => Promise<void>): Promise<void> {
    const failures: unknown[] = [];
    await Promise.all(
      this.#workers.map(async (worker) => {
        try {
          await act(worker);
        } catch (error) {
          failures.push(error);
          this.stop();
        }
      }),
    );
    if (failures.length > 0) throw failures[0];
  }
}
