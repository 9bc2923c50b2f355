/**
 * A process of its own beside a backup that has its VM stand still for a moment (argument: the QMP socket). It says
 * "ready" and reads its standard input: "over" ends it; an end without that word means that the backup was killed, and
 * then it lets the VM go on. QEMU serves one client at a time: a backup that comes first does the same.
 */
import { realClock } from '#base';
import { QmpClient } from '../qmp/qmp-client.ts';
import { resumeIfStopped } from './traces.ts';

const PATIENCE_MS = 60_000;
const RETRY_MS = 100;

// Ctrl-C and the end of a session are for the backup.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
process.stdout.on('error', () => {}); // Nobody waits for "ready" any more.
process.stdout.write('ready\n');
let told = '';
for await (const text of process.stdin.setEncoding('utf8')) told += String(text);
if (told.trim() !== 'over') await letGoOn(process.argv[2] ?? '');

async function letGoOn(path: string): Promise<void> {
  const clock = realClock();
  const deadline = clock.monotonicMs() + PATIENCE_MS;
  while (clock.monotonicMs() < deadline) {
    try {
      const qmp = await QmpClient.connect({ path, clock });
      try {
        await resumeIfStopped(qmp);
      } finally {
        await qmp.close();
      }
      return;
    } catch {
      // QEMU serves another client, or has ended: nobody is there to be told.
      await clock.sleep(RETRY_MS);
    }
  }
}
