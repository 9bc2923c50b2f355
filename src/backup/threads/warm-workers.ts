/**
 * Worker threads started before there is work for them: while a repository is opened one core derives a
 * key and the others have nothing to do, and a thread takes a tenth of a second to start.
 */
import { Worker } from 'node:worker_threads';

const waiting = new Map<string, Worker[]>();

/** Starts threads of the worker file at `url` that nobody has taken yet; they hold up no exit. */
export function warmUp(url: URL, threads: number): void {
  const known = waiting.get(url.href) ?? [];
  waiting.set(url.href, known);
  while (known.length < threads) {
    const worker = new Worker(url);
    worker.unref();
    known.push(worker);
  }
}

/** A thread of the worker file, started now or before. The caller terminates it. */
export function takeWorker(url: URL): Worker {
  const warm = waiting.get(url.href)?.pop();
  warm?.ref();
  return warm ?? new Worker(url);
}
