/**
 * For kill.test.ts, as a process: backs up, expires and compacts for ever in the repository in a folder,
 * and says so line by line, until it is killed.
 *
 *     kill-child.ts work FOLDER SEED     kill-child.ts hold FOLDER SEED
 */
import { setTimeout } from 'node:timers/promises';
import { compactRepository, expirePoints, placeInFolder } from '#repository';
import { openStore } from '#storage';
import { diskOf } from './faulted-operations.ts';
import { visibleOf } from './soundness.ts';
import { InlineBackup, seeded, World } from './world.ts';

const [mode, folder, seed] = [process.argv[2], process.argv[3]!, Number(process.argv[4])];
const MOST_POINTS = 10;

const world = new World({ seed, memtableRecords: 256 });
const random = seeded(seed + 1);
const store = await openStore(folder);
const open = (): ReturnType<World['open']> => world.open({ store, place: placeInFolder(folder) });

function say(...words: readonly unknown[]): void {
  process.stdout.write(`${words.join(' ')}\n`);
}

let repository = await open();
say('open', process.pid);
if (mode === 'hold') await setTimeout(600_000);
for (;;) {
  const visible = visibleOf(repository);
  const pick = random(10);
  if (visible.length > MOST_POINTS || (pick === 0 && visible.length > 2)) {
    const points = visible.filter(() => random(2) === 0);
    say('expiring', ...points);
    await expirePoints(repository.parts, points);
  } else if (pick === 1) {
    await compactRepository(repository.parts);
  } else if (pick === 2) {
    await repository.close();
    repository = await open();
  } else {
    const first = random(40);
    const item = `item-${random(3)}`;
    const backup = await InlineBackup.begin(repository, { item, disks: diskOf(first) });
    await backup.write();
    if (pick === 3) {
      await backup.cancel();
      continue;
    }
    say('committing', backup.session.point, first);
    await backup.commit();
    say('committed', backup.session.point);
  }
}
