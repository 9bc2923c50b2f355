/** Appends the memtable to a run in id order, folding the records of an id. */
import type { Memtable } from './memtable.ts';
import { Found } from './found.ts';
import { newKey } from './record.ts';
import type { RunWriter } from './run-writer.ts';

/** @throws {HoldfastError} `StoreFull`, `StoreFailed` */
export async function writeMemtable(
  writer: RunWriter,
  memtable: Memtable,
  isPackGone: (pack: number) => boolean,
): Promise<void> {
  const order = memtable.sorted();
  const key = newKey();
  const found = new Found();
  for (let i = 0; i < order.length;) {
    memtable.readKey(order[i]!, key);
    found.reset();
    do memtable.read(order[i++]!, found, isPackGone);
    while (i < order.length && memtable.isOf(order[i]!, key));
    writer.append(key, found);
    if (writer.isFull) await writer.drain();
  }
}
