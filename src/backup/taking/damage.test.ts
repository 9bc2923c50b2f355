import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { assertSame, makeLab, noise, patchImage, writeImage, type Lab } from '../testing/lab.ts';

const MIB = 1024 * 1024;

type DamageLab = Lab & {
  readonly location: string;
  readonly image: string;
  readonly first: string;
};

async function damageLab(t: TestContext): Promise<DamageLab> {
  const lab = await makeLab(t);
  const image = lab.path('disk.raw');
  await writeImage(image, 60 * MIB, [
    { offset: MIB, bytes: noise('a', 8 * MIB) },
    { offset: 33 * MIB, bytes: noise('b', 8 * MIB) },
  ]);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  return { ...lab, image, first: pointId };
}

async function packsOf(lab: Lab, kind: 'data' | 'page'): Promise<string[]> {
  return await lab.read(async ({ state }) =>
    [...state.packs]
      .filter(([, pack]) => pack.kind === kind)
      .map(([id]) => `${lab.location}/packs/${id.slice(0, 2)}/${id}`),
  );
}

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at]! ^= 1;
  await writeFile(path, bytes);
}

/** Everything is whole again: the newest point restores, from what is on disk alone. */
async function assertHealed(lab: DamageLab, point: string): Promise<void> {
  await assertSame(await lab.contentOf(point), lab.image);
  await rm(`${lab.location}/index`, { recursive: true });
  await lab.own(async () => {});
  await assertSame(await lab.contentOf(point), lab.image);
}

test('a page pack that is gone is stored anew by the next backup', async (t) => {
  const lab = await damageLab(t);
  for (const path of await packsOf(lab, 'page')) await rm(path);
  await assert.rejects(lab.contentOf(lab.first), { code: 'BlockMissing' });
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: lab.image }] });
  await assertHealed(lab, pointId);
});

test('a page pack with flipped bytes is stored anew, also when a hint names little', async (t) => {
  const lab = await damageLab(t);
  const [path] = await packsOf(lab, 'page');
  const { length } = await readFile(path!);
  // Every frame of its map is hit, but neither the header nor the footer.
  for (let at = 40; at < length - 6000; at += 1000) await flipByte(path!, at);
  const hint = [{ offset: 0, length: 4096 }];
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: lab.image, hint }] });
  await assertHealed(lab, pointId);
});

test('damage is met, and the disk holds only what its hint names: no point, rather than one with holes', async (t) => {
  const lab = await damageLab(t);
  const [path] = await packsOf(lab, 'page');
  const { length } = await readFile(path!);
  // Of the map's lower pages, so that nothing is amiss until they are needed.
  for (let at = 40; at < length / 2; at += 1000) await flipByte(path!, at);
  const location = lab.path('sparse.raw');
  const bytes = noise('x', 4096);
  await writeImage(location, 60 * MIB, [{ offset: 34 * MIB, bytes }]);
  const hint = [{ offset: 34 * MIB, length: bytes.length }];
  const refused = lab.backUp({ disks: [{ name: 'vda', location, hint, holdsHintOnly: true }] });
  await assert.rejects(refused, { code: 'HintUnusable' });
  await patchImage(lab.image, { patches: [{ offset: 34 * MIB, bytes }] });
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: lab.image }] });
  await assertHealed(lab, pointId);
});

test('a data pack that is gone heals once the damage is known, whatever a hint says', async (t) => {
  const lab = await damageLab(t);
  for (const path of await packsOf(lab, 'data')) await rm(path);
  // The restore that fails has the damage logged.
  await assert.rejects(lab.contentOf(lab.first), { code: 'BlockMissing' });
  await patchImage(lab.image, { patches: [{ offset: 5 * MIB, bytes: Buffer.from('new') }] });
  const hint = [{ offset: 5 * MIB, length: 3 }];
  const { pointId, disks } = await lab.backUp({
    disks: [{ name: 'vda', location: lab.image, hint }],
  });
  assert.match(lab.warnings.join(), /the point before is damaged/);
  assert.equal(disks[0]!.changed, 4096);
  await assertHealed(lab, pointId);
});

test('one damaged frame: the backup heals it and stores little else', async (t) => {
  const lab = await damageLab(t);
  const [path] = await packsOf(lab, 'data');
  await flipByte(path!, 3 * MIB);
  await assert.rejects(lab.contentOf(lab.first), (error: Error) => {
    assert.match(error.message, /vda of point \d+ cannot be restored at offset \d+: .*packs\//);
    return true;
  });
  const { pointId, disks } = await lab.backUp({ disks: [{ name: 'vda', location: lab.image }] });
  assert.equal(disks[0]!.changed, 0);
  assert.ok(disks[0]!.stored < 400_000, `${disks[0]!.stored}`);
  await assertHealed(lab, pointId);
  assert.ok(
    (await lab.contentOf(lab.first)).equals(await readFile(lab.image)),
    'the old point too',
  );
});
