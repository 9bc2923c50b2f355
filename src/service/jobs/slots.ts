/** Queues by name: at most `limit` places of a name are held at once, whoever comes first gets his first. */
import { HoldfastError } from '#base';
import type { JobSlot } from './job-runner.ts';

export type Slots = <Result>(
  wanted: readonly JobSlot[],
  signal: AbortSignal,
  work: () => Promise<Result>,
) => Promise<Result>;

type Queue = {
  held: number;
  readonly waiting: {
    readonly limit: number;
    readonly places: number;
    readonly take: () => void;
  }[];
};

/** Slots are taken in the order of their names, so that two that want the same never wait for each other. */
export function makeSlots(): Slots {
  const queues = new Map<string, Queue>();
  return async (wanted, signal, work) => {
    const taken: JobSlot[] = [];
    try {
      for (const slot of wanted.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
        await take(queues, slot, signal);
        taken.push(slot);
      }
      return await work();
    } finally {
      for (const slot of taken) release(queues, slot);
    }
  };
}

async function take(queues: Map<string, Queue>, slot: JobSlot, signal: AbortSignal): Promise<void> {
  const { name, limit, places = 1 } = slot;
  const queue = queues.get(name) ?? { held: 0, waiting: [] };
  queues.set(name, queue);
  if (signal.aborted) throw cancelled(signal);
  if (queue.held + places <= limit && queue.waiting.length === 0) {
    queue.held += places;
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const waiter = { limit, places, take: resolve };
    queue.waiting.push(waiter);
    const leave = (): void => {
      const place = queue.waiting.indexOf(waiter);
      if (place < 0) return; // It was given the slot, and will release it.
      queue.waiting.splice(place, 1);
      reject(cancelled(signal));
      next(queue);
    };
    signal.addEventListener('abort', leave, { once: true });
  });
}

function release(queues: Map<string, Queue>, { name, places = 1 }: JobSlot): void {
  const queue = queues.get(name)!;
  queue.held -= places;
  next(queue);
  if (queue.held === 0 && queue.waiting.length === 0) queues.delete(name);
}

function next(queue: Queue): void {
  const [first] = queue.waiting;
  if (first === undefined || queue.held + first.places > first.limit) return;
  queue.waiting.shift();
  queue.held += first.places;
  first.take();
  next(queue);
}

function cancelled(signal: AbortSignal): HoldfastError {
  return new HoldfastError('Cancelled', 'cancelled while it waited', { cause: signal.reason });
}
