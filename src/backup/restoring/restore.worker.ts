/** Entry of a restore's worker threads. */
import { parentPort } from 'node:worker_threads';
import { CallPort } from '../threads/call-port.ts';
import { restoreWorker } from './restore-worker.ts';

new CallPort(parentPort!, restoreWorker());
