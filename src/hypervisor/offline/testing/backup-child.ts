/**
 * A backup that gets as far as its argument says and then waits to be killed: `backup-child.ts IMAGE BASES
 * prepare|snapshot|release [OTHER]`. With the bases of another item it is a backup of a second one.
 */
import { writeSync } from 'node:fs';
import { Backups } from './backups.ts';

const [path, earlierPoints, step, othersBases] = process.argv.slice(2);
const first = new Backups(path!);
const backups = othersBases === undefined ? first : first.otherItem();
first.bases = JSON.parse(othersBases ?? '[]') as Backups['bases'];
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
