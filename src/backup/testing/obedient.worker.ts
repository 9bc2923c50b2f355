/** A worker for tests of crews: does what it is told, dying included. */
import { parentPort } from 'node:worker_threads';
import { CallPort, type CallTable } from '../threads/call-port.ts';

const stopping = new AbortController();

export type ObedientCalls = CallTable & {
  readonly square: (value: number) => number;
  readonly fail: (message: string) => never;
  /** Throws where nothing catches. */
  readonly crash: (message: string) => Promise<void>;
  /** Ends when told to stop. */
  readonly wait: (reason: undefined) => Promise<void>;
  readonly stop: (reason: undefined) => void;
  readonly close: (reason: undefined) => Promise<void>;
};

const handlers: ObedientCalls = {
  square: (value) => value * value,
  fail: (message) => {
    throw new Error(message);
  },
  crash: (message) => {
    queueMicrotask(() => {
      throw new Error(message);
    });
    return new Promise(() => {});
  },
  wait: () =>
    new Promise((_resolve, reject) => {
      stopping.signal.addEventListener('abort', () => reject(new Error('stopped')));
    }),
  stop: () => stopping.abort(),
  close: async () => {},
};

new CallPort(parentPort!, handlers);
