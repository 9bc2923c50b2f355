import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '#base';
import { againWhole } from './again-whole.ts';

function unusable(disk: string): HoldfastError {
  return new HoldfastError('HintUnusable', `${disk} is not enough`, { details: { disk } });
}

test('each disk whose changes are not enough is copied whole the next time, all others are not', async () => {
  const warnings: string[] = [];
  const asked: string[][] = [];
  const result = await againWhole(
    (message) => warnings.push(message),
    async (distrusted) => {
      asked.push([...distrusted.keys()]);
      if (asked.length === 1) throw unusable('vda');
      if (asked.length === 2) throw unusable('vdb');
      return await Promise.resolve('taken');
    },
  );
  assert.equal(result, 'taken');
  assert.deepEqual(asked, [[], ['vda'], ['vda', 'vdb']]);
  assert.match(warnings.join('\n'), /vda is not enough.*\n.*vdb is not enough/);
});

test('what does not help is not tried again, and other errors are not tried at all', async () => {
  let tries = 0;
  const failing = async (error: Error): Promise<void> => {
    tries = 0;
    await againWhole(
      () => {},
      async () => {
        tries += 1;
        return await Promise.reject<void>(error);
      },
    );
  };
  await assert.rejects(failing(unusable('vda')), { code: 'HintUnusable' });
  assert.equal(tries, 2);
  await assert.rejects(failing(new HoldfastError('VmBusy', 'busy')), { code: 'VmBusy' });
  assert.equal(tries, 1);
});
