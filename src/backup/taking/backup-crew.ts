/**
 * The worker threads of a backup, seen from the main thread.
 *
 *     start ──begin──► idle ──work──► idle ──flush, renew──► idle … ──end──► gone
 *
 * The first failure of one stops all; what they had sealed by then can still be flushed.
 */
import {
  receivedFrames,
  receivedPack,
  type IndexViewData,
  type SealedPack,
  type WaitingFrames,
} from '#repository';
import { Crew } from '../threads/crew.ts';
import { warmUp } from '../threads/warm-workers.ts';
import { defaultThreads } from '../threads/worker-thread.ts';
import type {
  BackupMainCalls,
  BackupWorkerCalls,
  BeginData,
  DamagedPlace,
} from './backup-calls.ts';
import type { AuditBatch, AuditBatchResult, UnitBatch, UnitBatchResult } from './unit-job.ts';

export type CrewEvents = {
  readonly onSealed: (pack: SealedPack) => void;
  readonly onDamage: (copy: DamagedPlace) => void;
  /** Makes a view of the index for a thread. */
  readonly view: () => Promise<IndexViewData>;
  readonly release: (view: IndexViewData) => Promise<void>;
};

export type CrewJob =
  | { readonly kind: 'units'; readonly batch: UnitBatch }
  | { readonly kind: 'audit'; readonly batch: AuditBatch };

/** Jobs for all threads; undefined ends them. */
export type CrewWork = {
  readonly next: () => Promise<CrewJob | undefined>;
  readonly onUnits: (result: UnitBatchResult) => void;
  readonly onAudit: (result: AuditBatchResult) => void;
  readonly isPaused: () => boolean;
};

const WORKER = new URL('./backup.worker.ts', import.meta.url);

/** Starts the threads of a backup that comes soon. */
export function warmUpBackup(): void {
  warmUp(WORKER, defaultThreads());
}

export class BackupCrew {
  readonly #crew: Crew<BackupWorkerCalls>;
  #events: CrewEvents | undefined;

  private constructor(threads: number) {
    const handlers = (): BackupMainCalls => this.#handlers([]);
    this.#crew = Crew.start({ url: WORKER, threads, handlers });
  }

  /** Starts the threads; `begin` gives them what they work on. The caller ends them. */
  static start(threads: number): BackupCrew {
    return new BackupCrew(threads);
  }

  /** Calls of one thread; `views`: those that it was given and has not opened. */
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

  /** Gives the threads the session and the disks; the view in `data` is released on return. */
  async begin(data: BeginData, events: CrewEvents): Promise<void> {
    this.#events = events;
    await this.#crew.each(async (port) => await port.call('begin', data));
    await events.release(data.session.view);
  }

  /** Has jobs done until there are none left, or a pause is wanted. */
  async work({ next, onUnits, onAudit, isPaused }: CrewWork): Promise<void> {
    await this.#crew.work<CrewJob>({
      next,
      run: async (port, { kind, batch }) => {
        if (kind === 'units') onUnits(await port.call('backUp', batch));
        else onAudit(await port.call('audit', batch));
      },
      isPaused,
    });
  }

  /** As `SessionThread.flush` on every thread; all are idle. */
  async flush(options: { readonly sealAll: boolean }): Promise<WaitingFrames[]> {
    const frames: WaitingFrames[] = [];
    await this.#crew.each(async (port) => {
      frames.push(receivedFrames(await port.call('flush', options)));
    });
    return frames;
  }

  /** Seals what can be sealed after a failure; a thread that cannot loses what it had not sealed. */
  async salvage(): Promise<void> {
    const { ports } = this.#crew;
    await Promise.allSettled(ports.map((port) => port.call('flush', { sealAll: true })));
  }

  /** Gives the threads a newer view of the index, released on return. */
  async renew(view: IndexViewData): Promise<void> {
    await this.#crew.each(async (port) => await port.call('renew', view));
    await this.#events?.release(view);
  }

  /** From now on no thread relies on these copies. */
  avoid(copies: readonly DamagedPlace[]): void {
    for (const port of this.#crew.ports) port.tell('avoid', copies);
  }

  /** Makes what is under way fail with `Cancelled`. */
  stop(): void {
    this.#crew.stop();
  }

  /** Ends the threads. Idempotent. */
  async end(): Promise<void> {
    await this.#crew.end();
  }
}
