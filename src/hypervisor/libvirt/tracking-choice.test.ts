import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageFingerprint } from '../image-fingerprint.ts';
import type { TrackingBase } from '../hypervisor.ts';
import type { Checkpoint } from './checkpoints.ts';
import { chooseTracking } from './tracking-choice.ts';

const REPOSITORY = '0123456789abcdef0123456789abcdef';
const [OLD, NEW] = ['100000000000001', '100000000000002'];
const fingerprint = imageFingerprint({ format: 'qcow2', 'virtual-size': 1024 }, '7 1');
const resized = imageFingerprint({ format: 'qcow2', 'virtual-size': 512 }, '7 1');
const DISK = { name: 'vda', fingerprint, untracked: undefined };

function checkpoint(point: string, disks = ['vda'], valid = disks): [string, Checkpoint] {
  const name = `holdfast-${REPOSITORY}-${point}`;
  const dirtyBytes = new Map(valid.map((disk) => [disk, 65_536]));
  return [name, { name, disks, validDisks: new Set(valid), dirtyBytes }];
}

function choose(
  bases: readonly TrackingBase[] | undefined,
  checkpoints: readonly [string, Checkpoint][],
  disk: Parameters<typeof chooseTracking>[0] = DISK,
): ReturnType<typeof chooseTracking> {
  return chooseTracking(disk, {
    repositoryId: REPOSITORY,
    bases,
    checkpoints: new Map(checkpoints),
  });
}

function reason(tracking: ReturnType<typeof chooseTracking>): string {
  return tracking.kind === 'compare' ? tracking.reason : tracking.kind;
}

const bases = [
  { point: NEW, fingerprint },
  { point: OLD, fingerprint },
];

test('the newest point with a valid bitmap is the base', () => {
  const both = [checkpoint(OLD), checkpoint(NEW)];
  assert.deepEqual(choose(bases, both), { kind: 'bitmap', base: NEW });
  assert.deepEqual(choose(bases, [checkpoint(OLD)]), { kind: 'bitmap', base: OLD });
  const broken = [checkpoint(OLD), checkpoint(NEW, ['vda'], [])];
  assert.deepEqual(choose(bases, broken), { kind: 'bitmap', base: OLD });
});

test('without a point the disk is new, whatever bitmaps it has', () => {
  assert.deepEqual(choose(undefined, [checkpoint(NEW)]), { kind: 'initial' });
  assert.deepEqual(choose([], [checkpoint(NEW)]), { kind: 'initial' });
});

test('what cannot be trusted is not offered, and says why', () => {
  assert.match(reason(choose(bases, [])), /no checkpoint/);
  assert.match(reason(choose(bases, [checkpoint(NEW, ['vda'], [])])), /missing or broken/);
  assert.match(reason(choose(bases, [checkpoint(NEW, ['vdb'])])), /has no bitmap for vda/);
  const other = [{ point: NEW, fingerprint: resized }];
  assert.match(reason(choose(other, [checkpoint(NEW)])), /resized from 512 to 1024/);
  const unknown = [{ point: NEW, fingerprint: undefined }];
  assert.match(reason(choose(unknown, [checkpoint(NEW)])), /not known/);
  const raw = { ...DISK, untracked: 'raw images keep no bitmaps' };
  assert.match(reason(choose(bases, [checkpoint(NEW)], raw)), /raw images/);
});
