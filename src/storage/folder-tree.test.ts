import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FolderTree } from './folder-tree.ts';
import { rejects } from './object-store.contract.ts';

async function inTree(body: (tree: FolderTree) => Promise<void>): Promise<void> {
  const tree = await FolderTree.open(mkdtempSync(join(tmpdir(), 'holdfast-tree-')));
  try {
    await body(tree);
  } finally {
    rmSync(tree.root, { recursive: true, force: true });
  }
}

test('ensure makes a folder with its parents, once for any number of callers', () =>
  inTree(async (tree) => {
    await Promise.all(Array.from({ length: 20 }, () => tree.ensure('a/b/c')));
    assert.ok(statSync(join(tree.root, 'a/b/c')).isDirectory());
    await tree.ensure('a/b/c');
    await tree.ensure('');
    assert.deepEqual(readdirSync(tree.root), ['a']);
  }));

test('a folder that could not be made is tried again by the next caller', () =>
  inTree(async (tree) => {
    writeFileSync(join(tree.root, 'a'), 'a file in the way');
    await rejects('StoreFailed', tree.ensure('a/b'));
    rmSync(join(tree.root, 'a'));
    tree.forget('a/b');
    await tree.ensure('a/b');
    assert.ok(statSync(join(tree.root, 'a/b')).isDirectory());
  }));

test('callers that come while an fsync runs share the next one', () =>
  inTree(async (tree) => {
    const first = tree.sync('');
    const joined = tree.sync('');
    assert.equal(first, joined); // Not begun yet: it covers both.
    await first;
    const later = tree.sync('');
    assert.notEqual(later, first);
    await later;
  }));

test('a failed fsync is told to those who waited for it, not to those who come after', () =>
  inTree(async (tree) => {
    await rejects('StoreFailed', tree.sync('none'));
    await tree.ensure('none');
    await tree.sync('none');
  }));
