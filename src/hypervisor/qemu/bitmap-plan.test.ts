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
  more: { readonly persists?: boolean; readonly known?: string } = {},
): BitmapPlan {
  const { persists = true, known = FINGERPRINT } = more;
  return planBitmaps(
    { node: 'disk0', bitmaps, fingerprint: FINGERPRINT, persists },
    {
      repositoryId: REPOSITORY,
      bases: points.map((point) => ({ point, fingerprint: known })),
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
    }),
    [bitmap(A).name, bitmap(B).name],
  );
});

/**
 * A model of bitmaps as sets of written places, run through backups that are killed anywhere: what a plan
 * says was written since a point is never less than what was.
 */
test('property: whatever is killed where, no write since the base is missing', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('write' as const), place: fc.nat(20) }),
    fc.record({
      do: fc.constant('backup' as const),
      until: fc.nat(4),
      writes: fc.array(fc.nat(20)),
    }),
    fc.record({ do: fc.constant('expire' as const), at: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const model = new Model();
      for (const one of steps) {
        if (one.do === 'write') model.write(one.place);
        else if (one.do === 'expire') model.expire(one.at);
        else model.backUp(one.until, one.writes);
      }
    }),
    { numRuns: 500 },
  );
});

class Model {
  #bitmaps = new Map<string, { places: Set<number>; recording: boolean }>();
  /** Newest first, each with what was written since. */
  #points: { readonly point: string; readonly since: Set<number> }[] = [];
  #last = 1_000_000_000_000_000;

  write(place: number): void {
    for (const { since } of this.#points) since.add(place);
    for (const { places, recording } of this.#bitmaps.values()) if (recording) places.add(place);
  }

  expire(at: number): void {
    this.#points.splice(at, 1);
  }

  /** Killed before the step `until`; writes fall between all steps. */
  backUp(until: number, writes: readonly number[]): void {
    const between = [...writes];
    const write = (): void => {
      const place = between.pop();
      if (place !== undefined) this.write(place);
    };
    const { tracking, base, repairs } = this.#plan();
    for (const action of repairs) this.#apply(action);
    const point = String((this.#last += 1));
    const name = formatBitmapName({ repositoryId: REPOSITORY, point });
    if (until < 1) return;
    this.#bitmaps.set(name, { places: new Set(), recording: true });
    write();
    // The instant: from here on the point's content stands.
    const since = new Set<number>();
    const written = this.#points.find(
      (known) => tracking.kind === 'bitmap' && known.point === tracking.base,
    );
    const expected = new Set(written?.since);
    const pending = { point, since };
    this.#points.unshift(pending);
    write();
    this.#points.shift();
    if (base !== undefined && until >= 2) {
      this.#bitmaps.get(base)!.recording = false;
      for (const place of expected) assert.ok(this.#bitmaps.get(base)!.places.has(place));
    }
    if (until < 3) return;
    this.#points.unshift(pending);
    write();
    if (until < 4) return;
    for (const useless of uselessBitmaps(this.#qmp(), { repositoryId: REPOSITORY, point })) {
      this.#bitmaps.delete(useless);
    }
  }

  #plan(): BitmapPlan {
    return plan(
      this.#qmp(),
      this.#points.map(({ point }) => point),
    );
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
