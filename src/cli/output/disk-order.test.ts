import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orderNote } from './disk-order.ts';

test('a disk that sounds like the system disk and does not come first is told', () => {
  assert.match(orderNote('web', ['data', 'os'])!, /^data comes first .* though os sounds like it/);
  assert.match(orderNote('web', ['web-data', 'web-log', 'web-OS'])!, /though web-OS sounds/);
  assert.match(orderNote('web', ['swap', 'Web'])!, /though Web sounds/);
});

test('an order that is as one expects, or tells nothing, is not', () => {
  for (const disks of [[], ['data'], ['a-system', 'b-data'], ['vda', 'vdb'], ['one', 'two']]) {
    assert.equal(orderNote('web', disks), undefined, disks.join());
  }
});
