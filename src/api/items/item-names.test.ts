import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerName, itemAt, itemName } from './item-names.ts';

const at = (container: string, item: string) =>
  itemAt({ group: 'g', vault: 'v', fabric: 'Azure', container, item });

test('names are written in lower case', () => {
  const vm = { group: 'Lab', name: 'Web' };
  assert.equal(containerName(vm), 'IaasVMContainer;iaasvmcontainerv2;lab;web');
  assert.equal(itemName(vm), 'VM;iaasvmcontainerv2;lab;web');
});

test('names are read in any case, with and without their first part', () => {
  const containers = ['IaasVMContainer;iaasvmcontainerv2;Lab;Web', 'IAASVMCONTAINERV2;lab;WEB'];
  const items = ['VM;iaasvmcontainerv2;lab;web', 'vm;IaaSVMContainerV2;LAB;web'];
  for (const container of containers) {
    for (const item of [...items, 'iaasvmcontainerv2;lab;web']) {
      const { vault, vm } = at(container, item);
      assert.deepEqual(vault, { group: 'g', name: 'v' });
      assert.equal(itemName(vm), 'VM;iaasvmcontainerv2;lab;web');
    }
  }
});

test('what names no VM, or another than its container, is not found', () => {
  const container = 'IaasVMContainer;iaasvmcontainerv2;lab;web';
  const odd: readonly (readonly [string, string])[] = [
    [container, 'VM;iaasvmcontainerv2;lab;sql'],
    [container, 'web'],
    [container, 'Share;iaasvmcontainerv2;lab;web'],
    [container, 'VM;iaasvmcontainer;lab;web'],
    [container, 'VM;iaasvmcontainerv2;lab;web;x'],
    ['StorageContainer;iaasvmcontainerv2;lab;web', 'VM;iaasvmcontainerv2;lab;web'],
  ];
  for (const names of odd) {
    assert.throws(() => at(...names), { code: 'BMSUserErrorProtectedItemNotFound' });
  }
});
