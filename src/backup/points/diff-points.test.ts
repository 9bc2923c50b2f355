import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeLab, noise, patchImage, writeImage } from '../testing/lab.ts';
import { diffPoints } from './diff-points.ts';

const MIB = 1024 * 1024;

test('two points differ where their disks do, in whole blocks', async (t) => {
  const lab = await makeLab(t);
  const location = lab.path('disk.raw');
  await writeImage(location, 40 * MIB, [{ offset: 0, bytes: noise('a', 3 * MIB) }]);
  const { pointId: a } = await lab.backUp({ disks: [{ name: 'vda', location }] });
  await patchImage(location, {
    sizeBytes: 40 * MIB + 10,
    patches: [
      { offset: MIB - 1, bytes: Buffer.from('ab') },
      { offset: 30 * MIB, bytes: Buffer.from('new') },
      { offset: 40 * MIB + 9, bytes: Buffer.from('x') },
    ],
  });
  const { pointId: b } = await lab.backUp({
    disks: [
      { name: 'vda', location },
      { name: 'vdb', location },
    ],
  });
  await lab.read(async (repository) => {
    const [vda, vdb] = await diffPoints({ repository, a, b });
    const ranges = [
      { offset: MIB - 4096, length: 8192 },
      { offset: 30 * MIB, length: 4096 },
      { offset: 40 * MIB, length: 10 },
    ];
    const sizes = { sizeA: 40 * MIB, sizeB: 40 * MIB + 10 };
    assert.deepEqual(vda, { name: 'vda', ...sizes, ranges, changed: 3 * 4096 + 10 });
    assert.equal(vdb!.sizeA, undefined);
    assert.equal(vdb!.changed, 3 * MIB + 4096 + 10);
    const same = await diffPoints({ repository, a: b, b });
    assert.deepEqual(
      same.map(({ changed, ranges: none }) => [changed, none.length]),
      [
        [0, 0],
        [0, 0],
      ],
    );
    await assert.rejects(diffPoints({ repository, a, b: '1' }), { code: 'PointNotFound' });
  });
});
