import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Extent } from '#disk';
import type { BackupResult } from './backup-run.ts';
import {
  assertSame,
  makeLab,
  noise,
  patchImage,
  run,
  writeImage,
  type Lab,
  type Patch,
} from '../testing/lab.ts';

const MIB = 1024 * 1024;
const SIZE = 96 * MIB;

type HintLab = Lab & {
  readonly image: string;
  readonly backUpWith: (hint: readonly Extent[]) => Promise<BackupResult>;
};

/** A lab with a disk of 20 MiB in 96, partly of zeros that are allocated, that has been backed up once. */
async function hintLab(t: TestContext): Promise<HintLab> {
  const lab = await makeLab(t);
  const image = lab.path('disk.raw');
  await writeImage(image, SIZE, [
    { offset: MIB, bytes: noise('a', 12 * MIB) },
    { offset: 40 * MIB + 4096, bytes: noise('b', 7 * MIB) },
    { offset: 90 * MIB, bytes: Buffer.alloc(MIB) },
  ]);
  await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  const backUpWith = async (hint: readonly Extent[]): Promise<BackupResult> =>
    await lab.backUp({ disks: [{ name: 'vda', location: image, hint }] });
  return { ...lab, image, backUpWith };
}

async function patch(lab: HintLab, ...patches: Patch[]): Promise<Extent[]> {
  await patchImage(lab.image, { patches });
  return patches.map(({ offset, bytes }) => ({ offset, length: bytes.length }));
}

test('with a hint only what it names and the audit are read', async (t) => {
  const lab = await hintLab(t);
  const hint = await patch(
    lab,
    { offset: 2 * MIB + 17, bytes: noise('x', 100) },
    { offset: 70 * MIB, bytes: noise('y', 5000) },
  );
  const { pointId, disks } = await lab.backUpWith(hint);
  assert.deepEqual(lab.warnings, []);
  assert.equal(disks[0]!.changed, 3 * 4096);
  // 1 000 samples, the allocated zeros, and what changed, of 20 MiB.
  assert.ok(disks[0]!.read <= 1003 * 4096 + MIB + 1, `${disks[0]!.read}`);
  await assertSame(await lab.contentOf(pointId), lab.image);
});

test('a hint that names a freed place makes it zero without reading it', async (t) => {
  const lab = await hintLab(t);
  const freed = { offset: 3 * MIB, length: 2 * MIB };
  await run('fallocate', '-p', '-o', `${freed.offset}`, '-l', `${freed.length}`, lab.image);
  const { pointId, disks } = await lab.backUpWith([freed]);
  assert.deepEqual(lab.warnings, []);
  assert.equal(disks[0]!.changed, freed.length);
  await assertSame(await lab.contentOf(pointId), lab.image);
});

test('a hint all of which is audited: one changed block among thousands is found, and an honest hint is used', async (t) => {
  const lab = await hintLab(t);
  const auditAll = async (hint: readonly Extent[]): Promise<BackupResult['disks'][number]> => {
    const disk = { name: 'vda', location: lab.image, hint, auditsAll: true };
    return (await lab.backUp({ disks: [disk] })).disks[0]!;
  };
  const honest = await auditAll(await patch(lab, { offset: 2 * MIB, bytes: noise('x', 100) }));
  assert.equal(honest.hintFailure, undefined);
  assert.equal(honest.changed, 4096);
  assert.ok(honest.read >= 20 * MIB, `all that is allocated: ${honest.read}`);
  await patch(lab, { offset: 7 * MIB + 4096, bytes: noise('y', 1) });
  const { hintFailure, changed } = await auditAll([]);
  assert.deepEqual(hintFailure, {
    isWrong: true,
    reason: `it misses changes (at ${7 * MIB + 4096})`,
  });
  assert.equal(changed, 4096);
});

test('an empty hint on an unchanged disk changes nothing', async (t) => {
  const lab = await hintLab(t);
  const { pointId, disks } = await lab.backUpWith([]);
  assert.equal(disks[0]!.changed, 0);
  assert.equal(disks[0]!.stored, 0);
  await assertSame(await lab.contentOf(pointId), lab.image);
});

for (const [what, change] of [
  [
    'data written into a hole',
    async (lab: HintLab) => {
      await patch(lab, { offset: 60 * MIB + 9000, bytes: Buffer.from('x') });
    },
  ],
  [
    'a hole punched into data',
    async (lab: HintLab) => {
      await run('fallocate', '-p', '-o', `${5 * MIB}`, '-l', '4096', lab.image);
    },
  ],
  [
    'a whole extent freed',
    async (lab: HintLab) => {
      await run('fallocate', '-p', '-o', `${40 * MIB}`, '-l', `${8 * MIB}`, lab.image);
    },
  ],
  [
    'data over free space that was allocated',
    async (lab: HintLab) => {
      await patch(lab, { offset: 90 * MIB, bytes: noise('z', MIB) });
    },
  ],
  [
    'most of the data rewritten',
    async (lab: HintLab) => {
      await patch(lab, { offset: MIB, bytes: noise('other', 12 * MIB) });
    },
  ],
] as const) {
  test(`a hint that misses ${what} is found out, and the same run reads it all`, async (t) => {
    const lab = await hintLab(t);
    await change(lab);
    const hint = await patch(lab, { offset: 41 * MIB, bytes: Buffer.from('said') });
    const { pointId } = await lab.backUpWith(hint);
    assert.match(lab.warnings.join(), /the hint for vda .*: it misses changes \(at \d+\)/);
    await assertSame(await lab.contentOf(pointId), lab.image);
  });
}

/** Where the last block of data in the disk of `hintLab` begins; its leaf has no other. */
const LAST_DATA = 47 * MIB;

for (const [what, hint, end] of [
  ['', [], LAST_DATA],
  [' between written blocks', [{ offset: LAST_DATA, length: 1 }], LAST_DATA - 4096],
  [' in the middle of a block', [], LAST_DATA + 2048],
] as const) {
  test(`a disk that lost its end${what} and got it back as allocated zeros is found out`, async (t) => {
    const lab = await hintLab(t);
    await patch(lab, { offset: end, bytes: Buffer.alloc(LAST_DATA + 4096 - end) });
    const { pointId, disks } = await lab.backUpWith(hint);
    assert.match(disks[0]!.hintFailure!.reason, /it misses changes/);
    assert.equal(disks[0]!.hintFailure!.isWrong, true);
    await assertSame(await lab.contentOf(pointId), lab.image);
  });
}

test('a disk that was shrunk and is larger than before now has what it lost found out', async (t) => {
  const lab = await hintLab(t);
  await patchImage(lab.image, { sizeBytes: LAST_DATA });
  await patchImage(lab.image, { sizeBytes: SIZE + 5000 });
  await patch(lab, { offset: LAST_DATA, bytes: Buffer.alloc(SIZE + 5000 - LAST_DATA) });
  const { pointId } = await lab.backUpWith([]);
  assert.match(lab.warnings.join(), /the hint for vda .*: it misses changes/);
  await assertSame(await lab.contentOf(pointId), lab.image);
});

test('a hint that names the whole disk, and one on a disk of zeros, leave nothing to look at', async (t) => {
  const lab = await hintLab(t);
  await patch(lab, { offset: LAST_DATA, bytes: Buffer.alloc(4096) });
  const whole = await lab.backUpWith([{ offset: 0, length: SIZE }]);
  assert.equal(whole.disks[0]!.changed, 4096);
  const location = lab.path('zeros.raw');
  await writeImage(location, SIZE, [{ offset: 3 * MIB, bytes: Buffer.alloc(MIB) }]);
  const zeros = { item: 'zeros', disks: [{ name: 'vda', location, hint: [] }] };
  await lab.backUp({ ...zeros, disks: [{ name: 'vda', location }] });
  const { pointId } = await lab.backUp(zeros);
  assert.deepEqual(lab.warnings, []);
  await assertSame(await lab.contentOf(pointId), location);
});

test('a disk that was resized is compared where its end moved, whatever the hint says', async (t) => {
  const lab = await hintLab(t);
  for (const sizeBytes of [SIZE + 5000, 41 * MIB + 3, 100 * MIB]) {
    await patchImage(lab.image, { sizeBytes });
    const end = { offset: sizeBytes - 2, bytes: Buffer.from('zz') };
    await patchImage(lab.image, { patches: [end] });
    const { pointId } = await lab.backUpWith([]);
    assert.deepEqual(lab.warnings, []);
    await assertSame(await lab.contentOf(pointId), lab.image);
  }
});

test('without a point to start from a hint is not used', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, 4 * MIB, [{ offset: 0, bytes: noise('a', MIB) }]);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location, hint: [] }] });
  assert.match(lab.warnings.join(), /no point before/);
  await assertSame(await lab.contentOf(pointId), location);
});

test('of a disk that holds only what its hint names nothing else is read, and where that is not enough it is refused', async (t) => {
  const lab = await hintLab(t);
  const bytes = noise('x', 8192);
  const hint = await patch(lab, { offset: 41 * MIB, bytes });
  const location = lab.path('sparse.raw');
  await writeImage(location, SIZE, [{ offset: 41 * MIB, bytes }]);
  const disks = [{ name: 'vda', location, hint, holdsHintOnly: true }];
  const { pointId, ...taken } = await lab.backUp({ disks });
  assert.equal(taken.disks[0]!.read, bytes.length);
  await assertSame(await lab.contentOf(pointId), lab.image);
  const refused = lab.backUp({ item: 'without a point', disks });
  await assert.rejects(refused, { code: 'HintUnusable', details: { disk: 'vda' } });
});

test('a hint that is none is refused; one past the end counts as far as there is disk', async (t) => {
  const lab = await hintLab(t);
  for (const wrong of [
    { offset: -1, length: 1 },
    { offset: 0, length: 1.5 },
    { offset: Number.NaN, length: 1 },
  ]) {
    await assert.rejects(lab.backUpWith([wrong]), { code: 'ArgumentInvalid' });
  }
  await lab.backUpWith([
    { offset: SIZE - 1, length: 100 * SIZE },
    { offset: 9 * SIZE, length: 1 },
  ]);
  assert.deepEqual(lab.warnings, []);
});

test('a huge sparse disk costs what it holds', async (t) => {
  const lab = await makeLab(t, 16_384);
  const location = lab.path('disk.raw');
  const size = 2 ** 43;
  await writeImage(location, size, [
    { offset: 0, bytes: noise('a', MIB) },
    { offset: size / 2, bytes: noise('b', MIB) },
    { offset: size - MIB, bytes: noise('c', MIB) },
  ]);
  const first = await lab.backUp({ disks: [{ name: 'vda', location }] });
  assert.equal(first.disks[0]!.read, 3 * MIB);
  const patches = [{ offset: size / 4, bytes: noise('d', 5) }];
  await patchImage(location, { patches });
  const second = await lab.backUp({
    disks: [{ name: 'vda', location, hint: [{ offset: size / 4, length: 5 }] }],
  });
  assert.deepEqual(lab.warnings, []);
  assert.equal(second.disks[0]!.changed, 16_384);
  assert.ok(second.seconds < 10, `${second.seconds}`);
  const path = lab.path('restored.raw');
  await lab.restore({ point: second.pointId, disks: [{ name: 'vda', path }] });
  await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', location, path);
});
