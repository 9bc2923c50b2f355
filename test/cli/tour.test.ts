/** `holdfast tour`, the first thing a new user sees. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ended, run, start, temporaryFolder } from './holdfast.ts';

const folder = temporaryFolder();
const variables = { TMPDIR: folder };

test('the tour ends with a restored disk that is the same, and removes its folder', async () => {
  const { code, stdout, stderr } = await run(['tour'], { variables, password: null });
  assert.equal(code, 0, stderr);
  for (const said of [
    /\$ holdfast repo init repository/,
    /blocks merged into later points, \d+ blocks deleted/,
    /No damage, checked in/,
    /The restored disk is the same, byte for byte\.\ne2fsck finds no fault/,
    /bin\/holdfast repo backup .* --disk vda=/,
  ]) {
    assert.match(stdout, said);
  }
  assert.deepEqual(readdirSync(folder), []);
});

test('Ctrl-C in the tour leaves nothing behind', async () => {
  const child = start(['tour'], { variables, password: null });
  const result = ended(child);
  await new Promise<void>((settle) => {
    child.stdout.on('data', (text: string) => text.includes('repo init') && settle());
  });
  child.kill('SIGINT');
  assert.equal((await result).code, 130);
  assert.ok(existsSync(folder));
  assert.deepEqual(readdirSync(folder), []);
});
