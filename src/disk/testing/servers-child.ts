/** Starts a qemu-nbd for each image, a few milliseconds apart, every second one writable, and stays until it is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startImageServer } from '../image-server.ts';
import { clock } from './peers.ts';

const APART_MS = 4;

process.stdout.write('starting\n');
for (const [number, path] of process.argv.slice(2).entries()) {
  const image = { path, format: 'qcow2' } as const;
  void startImageServer({ image, writable: number % 2 === 1, clock }); // A failure ends the process.
  await sleep(APART_MS);
}
await sleep(600_000);
