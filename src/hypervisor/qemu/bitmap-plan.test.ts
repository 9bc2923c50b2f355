import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatBitmapName } from '../bitmap-name.ts';
import type { QmpAction, QmpBitmap } from '../qmp/qmp-commands.ts';
import { planBitmaps, uselessBitmaps, type BitmapPlan } from './bitmap-plan.ts';

const REPOSITORY = 'a'.repeat(32);
const OTHER = 'b'.repeat(32);
const [A, B, C] = ['1000000000000000', '2000000000000000', '3000000000000000'] as const;
const FINGERPRINT = JSON.stringify({ format: 'qcow2', sizeBytes: 1, backing: [], snapshots: [] });

type How = Partial<QmpBitmap> & { readonly repositoryId?: string };

function bitmap(point: string, { repositoryId = REPOSITORY, ...how }: How = {}): QmpBitmap {
  return {
    name: formatBitmapName({ repositoryId, point }),
    granularity: 65_536,
    count: 0,
    recording: true,
    busy: false,
    persistent: true,
    ...how,
  };
}

function plan(
  bitmaps: readonly QmpBitmap[],
  points: readonly string[],
  more: {
    readonly persists?: boolean;
    readonly known?: string;
    readonly otherBases?: readonly string[];
  } = {},
): BitmapPlan {
  const { persists = true, known = FINGERPRINT, otherBases = [] } = more;
  return planBitmaps(
    { node: 'disk0', bitmaps, fingerprint: FINGERPRINT, persists },
    {
      repositoryId: REPOSITORY,
      bases: points.map((point) => ({ point, fingerprint: known })),
      otherBases: new Set(otherBases),
    },
  );
}

function reason({ tracking, repairs }: BitmapPlan): string {
  assert.ok(tracking.kind === 'compare', tracking.kind);
  assert.deepEqual(repairs, []);
  return tracking.reason;
}

const off = { recording: false };

test('without a point there is nothing to compare with; a recording bitmap counts from its point', () => {
  assert.deepEqual(plan([bitmap(A)], []), { tracking: { kind: 'initial' }, repairs: [] });
  assert.deepEqual(plan([bitmap(A)], [A]), {
    tracking: { kind: 'bitmap', base: A },
    base: bitmap(A).name,
    repairs: [],
  });
});

test('the newest point with a good bitmap is the base, and older bitmaps may stay until the commit', () => {
  const both = plan([bitmap(A), bitmap(B)], [B, A]);
  assert.deepEqual([both.tracking, both.repairs], [{ kind: 'bitmap', base: B }, []]);
  assert.deepEqual(plan([bitmap(A)], [B, A]).tracking, { kind: 'bitmap', base: A });
});

test('killed before its commit: the new bitmap is merged into the old one, which counts again', () => {
  const { tracking, repairs, repaired } = plan([bitmap(A, off), bitmap(B)], [A]);
  assert.deepEqual(tracking, { kind: 'bitmap', base: A });
  assert.match(repaired ?? '', /before its commit/);
  const [old, young] = [bitmap(A).name!, bitmap(B).name!];
  assert.deepEqual(repairs, [
    { type: 'block-dirty-bitmap-enable', data: { node: 'disk0', name: old } },
    { type: 'block-dirty-bitmap-merge', data: { node: 'disk0', target: old, bitmaps: [young] } },
    { type: 'block-dirty-bitmap-remove', data: { node: 'disk0', name: young } },
  ]);
});

test('killed after its commit: the new bitmap counts, the disabled one is removed', () => {
  const { tracking, repairs, repaired } = plan([bitmap(A, off), bitmap(B)], [B, A]);
  assert.deepEqual(tracking, { kind: 'bitmap', base: B });
  assert.match(repaired ?? '', /after its commit/);
  assert.deepEqual(repairs, [
    { type: 'block-dirty-bitmap-remove', data: { node: 'disk0', name: bitmap(A).name } },
  ]);
});

test('what cannot be trusted is compared, with its reason', () => {
  assert.match(reason(plan([bitmap(A, { inconsistent: true })], [A])), /killed while the bitmap/);
  assert.match(reason(plan([bitmap(A, { busy: true })], [A])), /in use by another program/);
  assert.match(reason(plan([bitmap(A, off)], [A])), /disabled, and nothing counted since/);
  assert.match(
    reason(plan([bitmap(B)], [A])),
    new RegExp(`counts from point ${B}, which has expired`),
  );
  assert.match(reason(plan([], [A])), /killed before it was saved, or the image was replaced/);
  assert.match(reason(plan([], [A], { persists: false })), /only as long as QEMU/);
  const resized = FINGERPRINT.replace('"sizeBytes":1', '"sizeBytes":2');
  assert.match(reason(plan([bitmap(A)], [A], { known: resized })), /resized from 2 to 1 bytes/);
});

test('bitmaps of other repositories and products are neither used nor touched', () => {
  const others = [bitmap(A, { repositoryId: OTHER, ...off }), { ...bitmap(A), name: 'backup-vda' }];
  const { name: _nameless, ...nameless } = bitmap(A);
  reason(plan([...others, nameless], [A]));
  const { repairs } = plan([...others, bitmap(B, off), bitmap(C)], [B]);
  const touched = repairs.map(({ data }) => JSON.stringify(data)).join();
  assert.ok(!touched.includes(OTHER) && !touched.includes('backup-vda'));
  assert.deepEqual(
    uselessBitmaps([...others, bitmap(A), bitmap(B, { inconsistent: true }), bitmap(C)], {
      repositoryId: REPOSITORY,
      point: C,
      otherBases: new Set(),
    }),
    [bitmap(A).name, bitmap(B).name],
  );
});

test('bitmaps that another item counts from are neither counted nor dropped, nor taken for a fault', () => {
  const otherBases = [B];
  assert.deepEqual(plan([bitmap(A), bitmap(B)], [A], { otherBases }).repairs, []);
  assert.deepEqual(plan([bitmap(B)], [], { otherBases }), {
    tracking: { kind: 'initial' },
    repairs: [],
  });
  assert.match(reason(plan([bitmap(B)], [A], { otherBases })), /no bitmap of this repository/);
  // Nothing counted on for this item, whatever another item's bitmap has counted.
  assert.match(reason(plan([bitmap(A, off), bitmap(B)], [A], { otherBases })), /nothing counted/);
  const merged = plan([bitmap(A, off), bitmap(B), bitmap(C)], [A], { otherBases });
  assert.ok(!JSON.stringify(merged.repairs).includes(B));
  assert.deepEqual(
    uselessBitmaps([bitmap(A), bitmap(B), bitmap(C)], {
      repositoryId: REPOSITORY,
      point: C,
      otherBases: new Set(otherBases),
    }),
    [bitmap(A).name],
  );
});

test('what a killed backup of another item left is merged into that item’s bitmap before anything else', () => {
  const [theirs, left] = [bitmap(B).name!, bitmap(C).name!];
  for (const [bitmaps, points, kind] of [
    [[bitmap(A), bitmap(B, off), bitmap(C)], [A], 'bitmap'],
    [[bitmap(B, off), bitmap(C)], [], 'initial'],
    [[bitmap(B, off), bitmap(C)], [A], 'compare'],
  ] as const) {
    const { tracking, repairs, repaired } = plan(bitmaps, points, { otherBases: [B] });
    assert.equal(tracking.kind, kind);
    assert.match(repaired ?? '', /merged back/);
    const data = { node: 'disk0', target: theirs, bitmaps: [left] };
    assert.deepEqual(repairs, [
      { type: 'block-dirty-bitmap-enable', data: { node: 'disk0', name: theirs } },
      { type: 'block-dirty-bitmap-merge', data },
      { type: 'block-dirty-bitmap-remove', data: { node: 'disk0', name: left } },
    ]);
  }
  // Both need what is left: it goes once, and last.
  const both = plan([bitmap(A, off), bitmap(B, off), bitmap(C)], [A], { otherBases: [B] });
  assert.deepEqual(
    both.repairs.map(({ type }) => type.replace('block-dirty-bitmap-', '')),
    ['enable', 'merge', 'enable', 'merge', 'remove'],
  );
});

test('a bitmap of another item that lacks writes is removed, so that nothing later is taken for what it lacks', () => {
  const removed = [
    { type: 'block-dirty-bitmap-remove', data: { node: 'disk0', name: bitmap(B).name } },
  ];
  for (const left of [[], [bitmap(C, { inconsistent: true })], [bitmap(C, off)]]) {
    const found = [bitmap(A), bitmap(B, off), ...left];
    const { tracking, repairs } = plan(found, [A], { otherBases: [B] });
    assert.equal(tracking.kind, 'bitmap');
    assert.deepEqual(
      repairs.filter(({ data }) => JSON.stringify(data).includes(B)),
      removed,
    );
  }
  // So it is with one's own: what was lost would be missing from any that began later.
  const lost = [bitmap(A, off), bitmap(B, { inconsistent: true }), bitmap(C)];
  reason(plan(lost, [A]));
});

/**
 * A model of bitmaps as sets of written places, run through backups of two items that are killed anywhere: what a
 * plan says was written since a point is never less than what was, and no item costs the other its bitmap.
 */
test('property: whatever is killed where, no write since the base is missing, of either item', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('write' as const), place: fc.nat(20) }),
    fc.record({
      do: fc.constant('backup' as const),
      item: fc.nat(1),
      until: fc.nat(4),
      writes: fc.array(fc.nat(20)),
    }),
    fc.record({ do: fc.constant('expire' as const), item: fc.nat(1), at: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      const model = new Model();
      for (const one of steps) {
        if (one.do === 'write') model.write(one.place);
        else if (one.do === 'expire') model.expire(one.item, one.at);
        else model.backUp(one);
      }
    }),
    { numRuns: 1000 },
  );
});

type Point = { readonly point: string; readonly since: Set<number> };

class Model {
  #bitmaps = new Map<string, { places: Set<number>; recording: boolean }>();
  /** By item, newest first, each with what was written since. */
  readonly #items: readonly Point[][] = [[], []];
  /** Items whose newest point has not expired: its bitmap is there. */
  readonly #tracked = new Set<number>();
  #last = 1_000_000_000_000_000;

  write(place: number): void {
    for (const { since } of this.#items.flat()) since.add(place);
    for (const { places, recording } of this.#bitmaps.values()) if (recording) places.add(place);
  }

  expire(item: number, at: number): void {
    this.#items[item]!.splice(at, 1);
    if (at === 0) this.#tracked.delete(item);
  }

  /** Killed before the step `until`; writes fall between all steps. */
  backUp({
    item,
    until,
    writes,
  }: {
    item: number;
    until: number;
    writes: readonly number[];
  }): void {
    const points = this.#items[item]!;
    const otherBases = this.#items[1 - item]!.slice(0, 1).map(({ point }) => point);
    const others = this.#recording(otherBases);
    const between = [...writes];
    const write = (): void => {
      const place = between.pop();
      if (place !== undefined) this.write(place);
    };
    const { tracking, base, repairs } = plan(
      this.#qmp(),
      points.map(({ point }) => point),
      { otherBases },
    );
    for (const action of repairs) this.#apply(action);
    if (this.#tracked.has(item)) assert.equal(tracking.kind, 'bitmap');
    assert.ok(others.every((name) => this.#recording(otherBases).includes(name)));
    const point = String((this.#last += 1));
    const name = formatBitmapName({ repositoryId: REPOSITORY, point });
    if (until < 1) return;
    this.#bitmaps.set(name, { places: new Set(), recording: true });
    write();
    // The instant: from here on the point's content stands.
    const since = new Set<number>();
    const written = points.find(
      (known) => tracking.kind === 'bitmap' && known.point === tracking.base,
    );
    const expected = new Set(written?.since);
    const pending = { point, since };
    points.unshift(pending);
    write();
    points.shift();
    if (base !== undefined && until >= 2) {
      this.#bitmaps.get(base)!.recording = false;
      for (const place of expected) assert.ok(this.#bitmaps.get(base)!.places.has(place));
    }
    if (until < 3) return;
    points.unshift(pending);
    this.#tracked.add(item);
    write();
    if (until < 4) return;
    const kept = { repositoryId: REPOSITORY, point, otherBases: new Set(otherBases) };
    for (const useless of uselessBitmaps(this.#qmp(), kept)) this.#bitmaps.delete(useless);
    assert.ok(this.#bitmaps.size <= 2, 'one an item');
    assert.ok(others.every((one) => this.#recording(otherBases).includes(one)));
  }

  /** Those of the bitmaps of these points that record. */
  #recording(points: readonly string[]): string[] {
    return points
      .map((point) => formatBitmapName({ repositoryId: REPOSITORY, point }))
      .filter((name) => this.#bitmaps.get(name)?.recording === true);
  }

  #qmp(): QmpBitmap[] {
    return [...this.#bitmaps].map(([name, { recording }]) => ({ ...bitmap(A), name, recording }));
  }

  #apply({ type, data }: QmpAction): void {
    if (type === 'block-dirty-bitmap-enable') this.#bitmaps.get(data.name)!.recording = true;
    if (type === 'block-dirty-bitmap-remove') this.#bitmaps.delete(data.name);
    if (type !== 'block-dirty-bitmap-merge') return;
    for (const from of data.bitmaps) {
      for (const place of this.#bitmaps.get(from)!.places) {
        this.#bitmaps.get(data.target)!.places.add(place);
      }
    }
  }
}
