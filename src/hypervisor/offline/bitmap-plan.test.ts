import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QemuBitmap } from '#disk';
import { formatBitmapName } from '../bitmap-name.ts';
import type { TrackingBase } from '../hypervisor.ts';
import { imageFingerprint } from '../image-fingerprint.ts';
import { planOfflineBitmaps, type OfflineBitmapPlan } from './bitmap-plan.ts';

const repositoryId = 'ab'.repeat(16);
const fingerprint = imageFingerprint({ format: 'qcow2', 'virtual-size': 4096 }, '7 1');
const other = imageFingerprint({ format: 'qcow2', 'virtual-size': 8192 }, '7 1');
const [ONE, TWO, THREE] = ['100000000000001', '100000000000002', '100000000000003'] as const;
const name = (point: string): string => formatBitmapName({ repositoryId, point });
const bitmap = (point: string, ...flags: string[]): QemuBitmap => ({
  name: name(point),
  flags,
  granularity: 65_536,
});

function plan(
  bitmaps: readonly QemuBitmap[],
  ...bases: readonly TrackingBase[]
): OfflineBitmapPlan {
  return planBeside([], bitmaps, ...bases);
}

/** Beside items that count from `otherPoints`. */
function planBeside(
  otherPoints: readonly string[],
  bitmaps: readonly QemuBitmap[],
  ...bases: readonly TrackingBase[]
): OfflineBitmapPlan {
  const otherBases = new Set(otherPoints);
  return planOfflineBitmaps({ bitmaps, fingerprint }, { repositoryId, bases, otherBases });
}

function reasonOf({ tracking }: OfflineBitmapPlan): string {
  assert.equal(tracking.kind, 'compare');
  return tracking.reason;
}

test('the bitmap of the newest point that has one counts; older ones go with the next commit', () => {
  assert.deepEqual(
    plan(
      [bitmap(ONE, 'auto'), bitmap(TWO, 'auto')],
      { point: THREE, fingerprint },
      { point: TWO, fingerprint },
      { point: ONE, fingerprint },
    ),
    {
      tracking: { kind: 'bitmap', base: TWO },
      counting: [name(TWO)],
      merges: [],
      leftovers: [],
      replaced: [name(ONE), name(TWO)],
    },
  );
});

test('without a point to compare with, the disk is new and every bitmap of ours goes with the commit', () => {
  assert.deepEqual(plan([bitmap(ONE, 'auto')]), {
    tracking: { kind: 'initial' },
    counting: [],
    merges: [],
    leftovers: [],
    replaced: [name(ONE)],
  });
});

test('a bitmap whose point was never committed counts with the one before it', () => {
  const base = { point: ONE, fingerprint };
  for (const flags of [['auto'], []]) {
    const planned = plan([bitmap(ONE, ...flags), bitmap(TWO, 'auto')], base);
    assert.deepEqual(planned.tracking, { kind: 'bitmap', base: ONE });
    assert.deepEqual(planned.counting, [name(ONE), name(TWO)]);
    assert.deepEqual(planned.merges, [{ into: name(ONE), from: [name(TWO)] }]);
    assert.deepEqual(planned.leftovers, [name(TWO)]);
  }
});

test('a disabled bitmap without a recording successor is not used', () => {
  const base = { point: ONE, fingerprint };
  assert.match(reasonOf(plan([bitmap(ONE)], base)), /disabled/);
  assert.match(reasonOf(plan([bitmap(ONE), bitmap(TWO)], base)), /disabled/);
  const lost = plan([bitmap(ONE), bitmap(TWO, 'in-use', 'auto')], base);
  assert.match(reasonOf(lost), /disabled/);
});

test('a bitmap between a disabled one and a recording one is counted too', () => {
  const bases = [
    { point: TWO, fingerprint: other },
    { point: ONE, fingerprint },
  ];
  const planned = plan([bitmap(ONE), bitmap(TWO), bitmap(THREE, 'auto')], ...bases);
  assert.deepEqual(planned.tracking, { kind: 'bitmap', base: ONE });
  assert.deepEqual(planned.counting, [name(ONE), name(TWO), name(THREE)]);
});

test('a bitmap that was not saved, or of an image that was another one, is told with the reason', () => {
  const base = { point: ONE, fingerprint };
  const killed = plan([bitmap(ONE, 'in-use', 'auto')], base);
  assert.match(reasonOf(killed), /killed/);
  assert.deepEqual([killed.leftovers, killed.replaced], [[], [name(ONE)]]);
  const changed = plan([bitmap(ONE, 'auto')], { point: ONE, fingerprint: other });
  assert.match(reasonOf(changed), /resized from 8192 to 4096/);
  assert.match(
    reasonOf(plan([bitmap(ONE, 'auto')], { point: ONE, fingerprint: undefined })),
    /not known/,
  );
  assert.match(reasonOf(plan([], base)), /no bitmap that counts/);
});

test('bitmaps of other repositories and products are not looked at', () => {
  const foreign = [
    {
      name: formatBitmapName({ repositoryId: 'cd'.repeat(16), point: ONE }),
      flags: ['auto'],
      granularity: 65_536,
    },
    { name: 'backup-vda', flags: ['in-use', 'auto'], granularity: 65_536 },
  ];
  const { tracking, ...rest } = plan(foreign, { point: ONE, fingerprint });
  assert.match(JSON.stringify(tracking), /no bitmap that counts/);
  assert.deepEqual(rest, { counting: [], merges: [], leftovers: [], replaced: [] });
});

test('what another item counts from is neither counted nor replaced, and no reason against anything', () => {
  const base = { point: ONE, fingerprint };
  assert.deepEqual(planBeside([TWO], [bitmap(ONE, 'auto'), bitmap(TWO, 'auto')], base), {
    tracking: { kind: 'bitmap', base: ONE },
    counting: [name(ONE)],
    merges: [],
    leftovers: [],
    replaced: [name(ONE)],
  });
  const initial = planBeside([TWO], [bitmap(TWO, 'auto')]);
  assert.deepEqual([initial.tracking.kind, initial.replaced], ['initial', []]);
  assert.match(reasonOf(planBeside([TWO], [bitmap(ONE), bitmap(TWO, 'auto')], base)), /disabled/);
  const broken = planBeside([TWO], [bitmap(TWO, 'in-use', 'auto')], base);
  assert.match(reasonOf(broken), /no bitmap that counts/);
});

test('a disabled bitmap of another item gets what its killed backup left, whether this one can use it or not', () => {
  const base = { point: ONE, fingerprint };
  const into = name(TWO);
  const from = [name(THREE)];
  const left = [bitmap(TWO), bitmap(THREE, 'auto')];
  const counting = planBeside([TWO], [bitmap(ONE, 'auto'), ...left], base);
  assert.deepEqual(counting.merges, [
    { into: name(ONE), from },
    { into, from },
  ]);
  assert.deepEqual([counting.leftovers, counting.replaced], [from, [name(ONE)]]);
  for (const bases of [[], [base]]) {
    const planned = planBeside([TWO], left, ...bases);
    assert.deepEqual([planned.merges, planned.leftovers], [[{ into, from }], from]);
    assert.deepEqual(planned.replaced, []);
  }
  // Nothing counted on: it goes before a later one could be taken for what it lacks.
  for (const lost of [[], [bitmap(THREE)], [bitmap(THREE, 'in-use', 'auto')]]) {
    const planned = planBeside([TWO], [bitmap(TWO), ...lost]);
    assert.deepEqual([planned.merges, planned.leftovers], [[], [into]]);
  }
});
