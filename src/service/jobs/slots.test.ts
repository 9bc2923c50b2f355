import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { isHoldfastError } from '#base';
import { makeSlots } from './slots.ts';

test('places are taken together, in the order of arrival, and never more than there are', async () => {
  const slots = makeSlots();
  const { signal } = new AbortController();
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const hold = async (who: string, places: number): Promise<void> =>
    await slots([{ name: 'host', limit: 4, places }], signal, async () => {
      begun.push(who);
      await new Promise<void>((resolve) => void ends.set(who, resolve));
    });
  const end = async (who: string): Promise<void> => {
    ends.get(who)!();
    for (let turns = 0; turns < 5; turns += 1) await turn();
  };
  const all = [hold('a', 1), hold('b', 2), hold('c', 3), hold('d', 1)];
  await turn();
  assert.deepEqual(begun, ['a', 'b'], 'd waits behind c, who came first');
  await end('a');
  assert.deepEqual(begun, ['a', 'b']);
  await end('b');
  assert.deepEqual(begun, ['a', 'b', 'c', 'd']);
  await end('c');
  await end('d');
  await Promise.all(all);
});

test('who leaves the queue lets those behind him through', async () => {
  const slots = makeSlots();
  const leaving = new AbortController();
  const staying = new AbortController();
  const slot = (places: number) => [{ name: 'host', limit: 2, places }];
  const done = Promise.withResolvers<void>();
  const first = slots(slot(1), staying.signal, async () => await done.promise);
  const waiting = assert.rejects(
    slots(slot(2), leaving.signal, async () => await Promise.resolve()),
    (error) => isHoldfastError(error, 'Cancelled'),
  );
  const behind = slots(slot(1), staying.signal, async () => await Promise.resolve('through'));
  leaving.abort('cancelled');
  await waiting;
  assert.equal(await behind, 'through');
  done.resolve();
  await first;
});
