import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { HoldfastError } from '#base';
import { CallPort } from './call-port.ts';

type Calls = {
  readonly double: (value: number) => Promise<number>;
  readonly fail: (code: 'DiskChanged' | 'bug') => never;
  readonly hang: (reason: undefined) => Promise<void>;
  readonly note: (text: string) => void;
};

function pair(t: TestContext): { port: CallPort<Calls>; notes: string[] } {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const notes: string[] = [];
  const handlers: Calls = {
    double: async (value) => value * 2,
    fail: (code) => {
      const cause = new Error('why');
      if (code === 'bug') throw new TypeError('a bug', { cause });
      throw new HoldfastError(code, 'it changed', { cause, details: { offset: 7 } });
    },
    hang: () => new Promise(() => {}),
    note: (text) => notes.push(text),
  };
  new CallPort(port2, handlers);
  return { port: new CallPort<Calls>(port1, {}), notes };
}

test('calls cross threads with their results, in any number, and after what was told before', async (t) => {
  const { port, notes } = pair(t);
  port.tell('note', 'first');
  const results = await Promise.all([1, 2, 3].map((value) => port.call('double', value)));
  assert.deepEqual(results, [2, 4, 6]);
  assert.deepEqual(notes, ['first']);
});

test('an error keeps its code, details and cause', async (t) => {
  const { port } = pair(t);
  await assert.rejects(port.call('fail', 'DiskChanged'), (error) => {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'DiskChanged');
    assert.deepEqual(error.details, { offset: 7 });
    assert.equal((error.cause as Error).message, 'why');
    return true;
  });
  await assert.rejects(port.call('fail', 'bug'), { name: 'TypeError', message: 'a bug' });
});

test('when the other side is gone, calls under way and later ones fail with the reason', async (t) => {
  const { port } = pair(t);
  const hanging = port.call('hang', undefined);
  port.fail(new Error('a worker thread ended'));
  await assert.rejects(hanging, /worker thread ended/);
  await assert.rejects(port.call('double', 1), /worker thread ended/);
});
