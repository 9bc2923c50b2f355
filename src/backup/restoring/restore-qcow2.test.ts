/** Points restored to new qcow2 images, which must hold what a raw restore of the same point holds. */
import assert from 'node:assert/strict';
import { rm, stat } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  makeLab,
  noise,
  patchImage,
  run,
  writeImage,
  type Lab,
  type Patch,
} from '../testing/lab.ts';

const MIB = 1024 * 1024;
const TIB = 1024 ** 4;

/** Backs up an image, restores it to raw and qcow2 at once, and has QEMU check and compare both. */
async function assertRestores(lab: Lab, image: string, item = 'vm'): Promise<string> {
  const { pointId } = await lab.backUp({ item, disks: [{ name: 'vda', location: image }] });
  const [raw, qcow2] = [`${image}.out.raw`, `${image}.out.qcow2`];
  await lab.restore({ point: pointId, disks: [{ name: 'vda', path: raw }] });
  await lab.restore({ point: pointId, disks: [{ name: 'vda', path: qcow2 }] });
  const checked = await run('qemu-img', 'check', '--output=json', qcow2);
  assert.doesNotMatch(checked, /leaks|corruptions/);
  await run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', raw, qcow2);
  await run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, qcow2);
  await rm(raw);
  return qcow2;
}

test('random disks of any size, with blocks of any size, are the same in qcow2 as in raw', async (t) => {
  const patch = fc.record({
    at: fc.nat({ max: 999 }),
    sizeBytes: fc.integer({ min: 1, max: 300_000 }),
  });
  const disk = fc.record({
    blockSize: fc.constantFrom(4096, 16_384, 65_536, MIB),
    sectors: fc.integer({ min: 1, max: 12_000 }),
    patches: fc.array(patch, { maxLength: 8 }),
  });
  let number = 0;
  const property = fc.asyncProperty(disk, async ({ blockSize, sectors, patches }) => {
    const lab = await makeLab(t, blockSize);
    const sizeBytes = sectors * 512;
    const written = patches.map(({ at, sizeBytes: length }): Patch => {
      const offset = Math.floor((sizeBytes * at) / 1000);
      return { offset, bytes: noise(`${at % 7}`, Math.min(length, sizeBytes - offset)) };
    });
    const image = lab.path(`${(number += 1)}.raw`);
    await writeImage(image, sizeBytes, written);
    await assertRestores(lab, image);
    await rm(lab.folder, { recursive: true });
  });
  await fc.assert(property, { numRuns: 20 });
});

test('an empty disk, one of zeros, a full one and one whose last sector alone has data', async (t) => {
  const lab = await makeLab(t);
  const cases: readonly (readonly [string, number, readonly Patch[]])[] = [
    ['empty', 0, []],
    ['zeros', 30 * MIB + 512, []],
    ['full', 3 * MIB + 1024, [{ offset: 0, bytes: noise('full', 3 * MIB + 1024) }]],
    ['last', 600 * MIB - 512, [{ offset: 600 * MIB - 1024, bytes: noise('last', 512) }]],
  ];
  for (const [name, sizeBytes, patches] of cases) {
    const image = lab.path(`${name}.raw`);
    await writeImage(image, sizeBytes, patches);
    await assertRestores(lab, image, name);
  }
});

test('few blocks on a disk of 8 TiB are restored to an image of few megabytes', async (t) => {
  const lab = await makeLab(t, 65_536);
  const image = lab.path('huge.raw');
  const places = [0, 3 * TIB + 12_345, 5 * TIB, 8 * TIB - 700];
  const patches = places.map((offset) => ({ offset, bytes: noise(`${offset}`, 700) }));
  await writeImage(image, 8 * TIB, patches);
  const qcow2 = await assertRestores(lab, image);
  const { blocks } = await stat(qcow2);
  assert.ok(blocks * 512 < 3 * MIB, `${blocks * 512} bytes`);
});

test('an image that was restored is overwritten in place where it differs', async (t) => {
  const lab = await makeLab(t);
  const image = lab.path('a.raw');
  await writeImage(image, 9 * MIB, [{ offset: MIB, bytes: noise('a', 4 * MIB) }]);
  const qcow2 = await assertRestores(lab, image);
  await patchImage(image, { patches: [{ offset: 7 * MIB, bytes: noise('b', 4096) }] });
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  const disks = [{ name: 'vda', path: qcow2 }];
  const { disks: result } = await lab.restore({ point: pointId, disks, overwrite: true });
  assert.equal(result[0]!.written, 4096);
  await run('qemu-img', 'check', qcow2);
  await run('qemu-img', 'compare', image, qcow2);
});
