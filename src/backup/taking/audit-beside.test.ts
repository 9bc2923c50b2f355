/** What a hint names is backed up while the hint is audited: what then comes of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertSame, makeLab, noise, patchImage, writeImage } from '../testing/lab.ts';

const MIB = 1024 * 1024;
const SIZE = 96 * MIB;
/** The last data of the disk: always looked at by the audit. */
const END = 60 * MIB;

for (const threads of [1, 4]) {
  test(`a wrong hint, ${threads} threads: what it named counts once, nothing is stored twice, no page of it is left in the map`, async (t) => {
    const lab = await makeLab(t);
    const location = lab.path('disk.raw');
    await writeImage(location, SIZE, [{ offset: 0, bytes: noise('a', END + 4096) }]);
    await lab.backUp({ threads, disks: [{ name: 'vda', location }] });

    const named = { offset: 2 * MIB, bytes: noise('named', 8 * MIB) };
    const missed = { offset: END, bytes: Buffer.alloc(4096) };
    const missedBesideNamed = { offset: 16 * MIB, bytes: noise('beside', 4096) };
    await patchImage(location, { patches: [named, missed, missedBesideNamed] });
    const hint = [{ offset: named.offset, length: named.bytes.length }];
    const { pointId, disks } = await lab.backUp({
      threads,
      disks: [{ name: 'vda', location, hint }],
    });
    const [disk] = disks;
    assert.equal(disk!.hintFailure?.isWrong, true);
    assert.equal(disk!.changed, named.bytes.length + 2 * 4096);
    assert.ok(disk!.stored < named.bytes.length + MIB, `${disk!.stored} stored`);
    assert.ok(disk!.read >= END, `${disk!.read} read`);
    await assertSame(await lab.contentOf(pointId), location);

    const again = await lab.backUp({ threads, disks: [{ name: 'vda', location }] });
    assert.equal(again.disks[0]!.changed, 0);
    assert.equal(again.disks[0]!.stored, 0);
  });
}

test('of two disks only the one whose hint is wrong is compared', async (t) => {
  const lab = await makeLab(t);
  const [right, wrong] = [lab.path('right.raw'), lab.path('wrong.raw')];
  for (const path of [right, wrong]) {
    await writeImage(path, SIZE, [{ offset: 0, bytes: noise(path, END + 4096) }]);
  }
  const disks = [
    { name: 'vda', location: right },
    { name: 'vdb', location: wrong },
  ];
  await lab.backUp({ disks });
  const change = { offset: 5 * MIB, bytes: noise('change', MIB) };
  await patchImage(right, { patches: [change] });
  await patchImage(wrong, { patches: [change, { offset: END, bytes: Buffer.alloc(4096) }] });
  const hint = [{ offset: change.offset, length: MIB }];
  const taken = await lab.backUp({ disks: disks.map((disk) => ({ ...disk, hint })) });
  const [vda, vdb] = taken.disks;
  assert.equal(vda!.hintFailure, undefined);
  assert.equal(vda!.changed, MIB);
  assert.ok(vda!.read < END / 2, `${vda!.read} read`);
  assert.equal(vdb!.hintFailure?.isWrong, true);
  assert.equal(vdb!.changed, MIB + 4096);
  for (const [disk, path] of [
    ['vda', right],
    ['vdb', wrong],
  ] as const) {
    await assertSame(await lab.contentOf(taken.pointId, disk), path);
  }
});
