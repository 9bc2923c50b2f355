import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restoredImageName } from './restore-names.ts';

const timeMs = Date.UTC(2026, 10, 22, 6, 5, 4);

test('R70 the first disk is the OS disk, the others have LUNs from 0', () => {
  assert.equal(restoredImageName({ vm: 'web', disk: 0, timeMs }), 'web-osdisk-20261122-060504');
  assert.equal(restoredImageName({ vm: 'web', disk: 1, timeMs }), 'web-datadisk-0-20261122-060504');
  assert.equal(restoredImageName({ vm: 'web', disk: 3, timeMs }), 'web-datadisk-2-20261122-060504');
});

test('R70 names are lower case and without the hyphens of the VM', () => {
  assert.equal(
    restoredImageName({ vm: 'Web-Front-01', disk: 0, timeMs }),
    'webfront01-osdisk-20261122-060504',
  );
});

test('whatever a VM is called, the name is that of a file in the folder', () => {
  for (const vm of ['../../etc/passwd', 'a/b', 'ein Server', '--', 'x\0y']) {
    const name = restoredImageName({ vm, disk: 0, timeMs });
    assert.doesNotMatch(name, /[/\0 ]/);
    assert.match(name, /^[^-].*-osdisk-20261122-060504$/);
  }
});
