import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQemuUri } from './qemu-address.ts';

test('a QEMU is named by its QMP socket, and by its agent socket where it has one', () => {
  assert.deepEqual(parseQemuUri('qmp:/run/vm/qmp.sock'), { qmpPath: '/run/vm/qmp.sock' });
  assert.deepEqual(parseQemuUri('qmp:/run/a b.sock,agent=/run/qga.sock'), {
    qmpPath: '/run/a b.sock',
    agentPath: '/run/qga.sock',
  });
});

test('anything else is refused with the form that is right', () => {
  for (const wrong of [
    'qmp:',
    'qmp:qmp.sock',
    'qmp:/run/qmp.sock,agent=qga.sock',
    'qmp:/run/qmp.sock,agent=',
    'qmp:/run/qmp.sock,other=/run/x',
    'qemu:///system',
  ]) {
    assert.throws(
      () => parseQemuUri(wrong),
      { code: 'ArgumentInvalid', message: /use qmp:/ },
      wrong,
    );
  }
});
