import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  fingerprintDifference,
  imageFingerprint,
  type QemuImageInfo,
} from './image-fingerprint.ts';

const BASE: QemuImageInfo = { format: 'qcow2', 'virtual-size': 1024 };
const IMAGE: QemuImageInfo = {
  ...BASE,
  'backing-filename': 'base.qcow2',
  'backing-filename-format': 'qcow2',
  'backing-image': BASE,
};
const SNAPSHOT = { id: '1', name: 's', 'date-sec': 7, 'date-nsec': 5 };

function difference(now: QemuImageInfo, then: QemuImageInfo = IMAGE): string | undefined {
  return fingerprintDifference(imageFingerprint(then, '7 1'), imageFingerprint(now, '7 1'));
}

test('the same image has the same fingerprint, whatever path it was opened with and however much it holds', () => {
  const opened = { ...IMAGE, filename: '/a/b.qcow2', 'full-backing-filename': '/a/base.qcow2' };
  const running = { ...IMAGE, filename: 'json:{}', 'actual-size': 5, 'dirty-flag': true };
  assert.equal(imageFingerprint(opened, '7 1'), imageFingerprint(running, '7 1'));
  assert.equal(difference(running), undefined);
});

test('a fingerprint does not depend on the order of keys', () => {
  const turned = Object.fromEntries(Object.entries(IMAGE).toReversed()) as QemuImageInfo;
  assert.equal(imageFingerprint(turned, '7 1'), imageFingerprint(IMAGE, '7 1'));
});

test('what makes another image of it is told in words', () => {
  assert.match(difference({ ...IMAGE, format: 'raw' })!, /was qcow2 and is raw/);
  assert.match(difference({ ...IMAGE, 'virtual-size': 2048 })!, /resized from 1024 to 2048/);
  assert.match(difference({ ...IMAGE, 'backing-filename': 'other' })!, /other backing files/);
  assert.match(difference(BASE)!, /other backing files/);
  const deeper = { ...IMAGE, 'backing-image': { ...BASE, 'backing-filename': 'root' } };
  assert.match(difference(deeper)!, /other backing files/);
  const snapped = { ...IMAGE, snapshots: [SNAPSHOT] };
  assert.match(difference(snapped)!, /internal snapshots/);
  const again = { ...IMAGE, snapshots: [{ ...SNAPSHOT, 'date-nsec': 6 }] };
  assert.match(difference(again, snapped)!, /internal snapshots/);
});

test('a fingerprint that is missing or not ours differs', () => {
  const now = imageFingerprint(IMAGE, '7 1');
  assert.match(fingerprintDifference(undefined, now)!, /not known/);
  assert.match(fingerprintDifference('null', now)!, /another one/);
  assert.match(fingerprintDifference('x', now)!, /another one/);
});

test('images that are alike in all but which they are differ', () => {
  const other = fingerprintDifference(
    imageFingerprint(IMAGE, '7 1'),
    imageFingerprint(IMAGE, '8 1'),
  );
  assert.match(other!, /changed places with another/);
});
