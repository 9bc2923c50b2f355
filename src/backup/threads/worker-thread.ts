/** A worker thread with a call port, that fails all its calls when it dies. */
import { availableParallelism } from 'node:os';
import { CallPort, type CallTable } from './call-port.ts';
import { takeWorker } from './warm-workers.ts';

const MOST_THREADS = 4;

export type WorkerThread<Theirs extends CallTable> = {
  readonly port: CallPort<Theirs>;
  /** Ends it at once, whatever it does. Idempotent. */
  readonly terminate: () => Promise<void>;
};

/** Starts the worker file at `url`; `handlers` answer its calls. The caller terminates it. */
export function startWorker<Theirs extends CallTable>(
  url: URL,
  handlers: CallTable,
): WorkerThread<Theirs> {
  const worker = takeWorker(url);
  const port = new CallPort<Theirs>(worker, handlers);
  worker.on('error', (error) => port.fail(error as Error));
  worker.on('exit', () => port.fail(new Error('a worker thread ended')));
  return {
    port,
    terminate: async () => {
      await worker.terminate();
    },
  };
}

/** How many threads to use if the caller does not say: as many as cores, at most 4. */
export function defaultThreads(): number {
  return Math.min(availableParallelism(), MOST_THREADS);
}
