/** A backup that gets as far as its argument says and then waits to be killed: `backup-child.ts IMAGE POINT prepare|snapshot|release`. */
import { writeSync } from 'node:fs';
import { Backups } from './backups.ts';

const [path, earlierPoints, step] = process.argv.slice(2);
const backups = new Backups(path!);
const earlier = JSON.parse(earlierPoints!) as Backups['bases'];
for (const _ of earlier) backups.forget();
backups.bases = earlier;
const prepared = await backups.prepare();
if (step !== 'prepare') {
  const snapshot = await prepared.snapshot();
  if (step === 'release') await snapshot.release('committed');
}
writeSync(1, `${JSON.stringify(prepared.disks[0]!.fingerprint)}\n`);
setInterval(() => {}, 60_000);
