import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planNotices, type SoftDeleted, type Told } from './plan-notices.ts';

const DAY_MS = 86_400_000;
const WEB: SoftDeleted = {
  id: 'web',
  vaultId: 'v1',
  what: 'VM web',
  deletedAt: 0,
  purgeAt: 14 * DAY_MS,
};

/** Looks at these times, in days, at what is soft-deleted then. @returns what was told, in order. */
function told(looks: readonly (readonly [number, readonly SoftDeleted[], boolean?])[]): string[] {
  let known: readonly Told[] = [];
  return looks.flatMap(([day, deleted, isAway = false]) => {
    const plan = planNotices(known, { deleted, nowMs: day * DAY_MS, isAway: () => isAway });
    known = plan.told;
    return plan.notices.map(({ about, of }) => `${day}: ${about} ${of.id}`);
  });
}

test('each stage is told once, whenever it is looked', () => {
  const [there, gone] = [[WEB], []] as const;
  assert.deepEqual(
    told([
      [0, there],
      [1, there],
      [11.9, there],
      [12, there],
      [13, there],
      [14, gone],
      [15, gone],
    ]),
    ['0: deleted web', '12: soon web', '14: gone web'],
  );
  assert.deepEqual(
    told([
      [13, there],
      [13.5, there],
      [20, gone],
    ]),
    ['13: deleted web', '13.5: soon web', '20: gone web'],
  );
  assert.deepEqual(
    told([
      [0, there],
      [20, gone],
    ]),
    ['0: deleted web', '20: gone web'],
  );
});

test('what was undeleted is told no more; deleted again is told again', () => {
  const again = { ...WEB, deletedAt: 5 * DAY_MS, purgeAt: 19 * DAY_MS };
  assert.deepEqual(
    told([
      [0, [WEB]],
      [1, []],
      [2, []],
      [5, [again]],
      [14, [again]],
      [17, [again]],
    ]),
    ['0: deleted web', '5: deleted web', '17: soon web'],
  );
  // Both between two looks.
  assert.deepEqual(
    told([
      [0, [WEB]],
      [5, [again]],
    ]),
    ['0: deleted web', '5: deleted web'],
  );
});

test('what is in a soft-deleted vault is told when it has gone, or when that vault is back', () => {
  assert.deepEqual(
    told([
      [0, [WEB]],
      [3, [], true],
      [14, [], true],
      [20, []],
    ]),
    ['0: deleted web', '20: gone web'],
  );
  assert.deepEqual(
    told([
      [0, [WEB]],
      [3, [], true],
      [13, [WEB]],
    ]),
    ['0: deleted web', '13: soon web'],
  );
});
