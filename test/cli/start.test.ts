/** `npm start`: the service with a sample VM, in the foreground. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ended, run, start, temporaryFolder, type Run } from './holdfast.ts';

const folder = temporaryFolder();
const data = join(folder, 'state', 'holdfast');
const variables = { XDG_STATE_HOME: join(folder, 'state'), HOLDFAST_DATA: '' };
const ARGS = ['start', '--listen', '127.0.0.1:0'];

/** Runs it until it shows the text, does something meanwhile, then Ctrl-C. */
async function until(text: string, meanwhile: () => Promise<void> = async () => {}): Promise<Run> {
  const child = start(ARGS, { variables, password: null });
  const result = ended(child);
  let shown = '';
  await new Promise<void>((settle) => {
    child.stdout.on('data', (piece: string) => {
      shown += piece;
      if (shown.includes(text)) settle();
    });
    child.once('close', () => settle());
  });
  await meanwhile();
  child.kill('SIGINT');
  return await result;
}

test('Ctrl-C before the sample is done leaves no half of it', async () => {
  const { code, stderr } = await until('here is a sample VM');
  assert.equal(code, 130, stderr);
  const sample = join(data, 'sample');
  // It may end before it has begun.
  assert.ok(!existsSync(sample) || !readdirSync(sample).includes('making'));
});

test('the sample VM is made, protected and backed up; then the service serves until Ctrl-C', async () => {
  const { code, stdout, stderr } = await until('Ctrl-C ends the service', async () => {
    const points = await run(['points', 'sample-vm'], { variables, password: null });
    assert.match(points.stdout, /1 point of sample\/sample-vm in sample\/main/, points.stderr);
    const again = await run(['start'], { variables, password: null });
    assert.match(again.stderr, /another service runs on .* \[DataFolderHeld\]/);
  });
  assert.equal(code, 0, stderr);
  for (const said of [
    /\$ holdfast host add sample --connect images:/,
    /\$ holdfast backup sample-vm\n\nRecovery point \d+ of sample\/sample-vm/,
    /eval "\$\(holdfast env --data \//,
    /Ending: what runs goes on at the next start\.\n$/,
  ]) {
    assert.match(stdout, said);
  }
});

test('the next start makes nothing again', async () => {
  const { code, stdout } = await until('Ctrl-C ends the service');
  assert.equal(code, 0);
  assert.doesNotMatch(stdout, /\$ holdfast (host|vault|protect)/);
});
