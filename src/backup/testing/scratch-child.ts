/** Takes a scratch folder in its first argument, says which, and stays until it is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { inScratch } from '../vms/scratch-folder.ts';

await inScratch(process.argv[2]!, async (folder) => {
  process.stdout.write(`${folder}\n`);
  await sleep(600_000);
});
