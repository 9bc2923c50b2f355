/** Entry of a backup's worker threads. */
import { parentPort } from 'node:worker_threads';
import { CallPort } from '../threads/call-port.ts';
import type { BackupMainCalls } from './backup-calls.ts';
import { backupWorker } from './backup-worker.ts';

const port: CallPort<BackupMainCalls> = new CallPort<BackupMainCalls>(
  parentPort!,
  backupWorker(() => port),
);
