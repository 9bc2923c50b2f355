import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable, left, right } from './table.ts';

test('words stand left, numbers right, and no line ends in a space', () => {
  const table = formatTable(
    [left('DISK'), right('SIZE'), left('NOTE')],
    [
      ['vda', '1.00 GiB', ''],
      ['database', '5 B', 'small'],
    ],
  );
  assert.deepEqual(table.split('\n'), [
    'DISK          SIZE  NOTE',
    'vda       1.00 GiB',
    'database       5 B  small',
  ]);
});

test('a name cannot steer the terminal', () => {
  const table = formatTable([left('ITEM')], [['a\u001b[31mb\nc']]);
  assert.equal(table, 'ITEM\na\\x1b[31mb c');
});
