/** For damage.test.ts, as a process: adds, flushes and merges for ever, a line a flush, until it is killed. */
import { BlockIndex } from './block-index.ts';
import { idOf } from './index-model.ts';

const index = await BlockIndex.create(process.argv[2]!, {
  isPackGone: () => false,
  memtableRecords: 1024,
});
for (let i = 0; ; i++) {
  for (let j = 0; j < 40; j++) {
    index.addCount(idOf((i * 13 + j) % 500), 1);
    index.addCopy(idOf(i * 40 + j), { pack: i, frame: j, slot: 0, share: 1 });
  }
  await index.flush({ number: i, hash: '', cursor: 0 }, {});
  process.stdout.write(`${i}\n`);
}
