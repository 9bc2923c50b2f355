import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Preview } from './policy-preview.ts';
import { effectOf } from './set-policy.ts';

type State = Preview['value'][number]['recoveryPoints'][number]['before'];

const kept = (expiryTime?: string): State => ({
  fate: 'Kept',
  keptBy: 'daily',
  ...(expiryTime === undefined ? {} : { expiryTime }),
});

/** @param vms of each its points, as they are now and would be then. */
function preview(...vms: readonly (readonly [State, State])[][]): Preview {
  return {
    points: { kept: 0, softDeleted: 0, removed: 0 },
    freedBytes: 0,
    softDeletedBytes: 0,
    value: vms.map((points, at) => ({
      vm: { resourceGroup: 'lab', name: `vm${at}` },
      recoveryPoints: points.map(([before, then], index) => ({
        ...then,
        name: String(index),
        time: '2026-01-01T00:00:00Z',
        before,
      })),
    })),
  };
}

test('a change of a policy that takes points, or some of their time, says of how many and of whose', () => {
  const [soon, late] = [kept('2026-02-01T00:00:00Z'), kept('2026-03-01T00:00:00Z')];
  const gone: State = { fate: 'Removed', keptBy: 'none' };
  const soft: State = { fate: 'SoftDeleted', keptBy: 'none', expiryTime: '2026-02-01T00:00:00Z' };
  assert.deepEqual(effectOf(preview([[soon, soon]], [[soon, late]], [[soon, kept()]])), {
    lost: undefined,
    sooner: undefined,
  });
  const changed = preview(
    [
      [late, gone],
      [late, soft],
      [late, soon],
    ],
    [[late, gone]],
    [[soon, soon]],
  );
  assert.deepEqual(effectOf(changed), {
    lost: '3 recovery points of 2 VMs are no longer kept',
    sooner: '1 recovery point of 1 VM is kept less long',
  });
  assert.equal(
    effectOf(preview([[kept(), late]])).sooner,
    '1 recovery point of 1 VM is kept less long',
  );
  assert.equal(effectOf(preview([[gone, gone]])).lost, undefined, 'it went before');
});
