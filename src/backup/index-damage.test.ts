/** The local index is a cache: where its pages are damaged, every command mends it by itself and goes on. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { verifyRepository } from '#repository';
import { servePoint } from './serving/serve-point.ts';
import {
  assertSame,
  makeLab,
  noise,
  patchImage,
  run,
  writeImage,
  type Lab,
} from './testing/lab.ts';

const MIB = 1024 * 1024;
const PAGE_BYTES = 4096;
const FOOTER_BYTES = 64;

type BackedUp = Lab & { readonly image: string; readonly point: string };

async function backedUp(t: TestContext): Promise<BackedUp> {
  const lab = await makeLab(t);
  const image = lab.path('disk.raw');
  await writeImage(image, 24 * MIB, [{ offset: MIB, bytes: noise('index', 12 * MIB) }]);
  const { pointId } = await lab.backUp({ disks: [{ name: 'vda', location: image }] });
  return { ...lab, image, point: pointId };
}

/** Changes a byte in every page of every run; what opening checks stays whole. */
function damageIndex(lab: Lab): void {
  const folder = join(lab.location, 'index');
  const runs = readdirSync(folder).filter((name) => name.endsWith('.run'));
  assert.ok(runs.length > 0);
  for (const name of runs) {
    const bytes = readFileSync(join(folder, name));
    const pageCount = bytes.readUInt32LE(bytes.length - FOOTER_BYTES + 8);
    assert.ok(pageCount > 10, name);
    for (let page = 0; page < pageCount; page += 1) bytes[page * PAGE_BYTES + 100]! ^= 1;
    writeFileSync(join(folder, name), bytes);
  }
}

/** A reader has noted the damage. */
async function assertOwnerMends(lab: BackedUp): Promise<void> {
  lab.warnings.length = 0;
  await lab.own(async (repository) => {
    assert.deepEqual(repository.rebuilt, {
      kind: 'damaged',
      reason: 'a reader has met damage in it',
    });
    await Promise.resolve();
  });
  assert.equal(lab.warnings.length, 1);
  await assertMended(lab);
}

async function assertMended(lab: BackedUp): Promise<void> {
  const verified = await lab.own(
    async (repository) => await verifyRepository(repository, { readDataPercent: 100 }),
  );
  assert.deepEqual(verified.damage, []);
  assert.equal(verified.indexAgrees, true);
}

test('a backup makes a damaged index anew and is complete', async (t) => {
  const lab = await backedUp(t);
  damageIndex(lab);
  await patchImage(lab.image, { patches: [{ offset: 3 * MIB, bytes: noise('new', MIB) }] });
  const { pointId, disks } = await lab.backUp({ disks: [{ name: 'vda', location: lab.image }] });
  assert.match(lab.warnings.join('\n'), /index is damaged and is made anew/);
  assert.ok(disks[0]!.stored < 1.2 * MIB, `${disks[0]!.stored} stored: nothing twice`);
  await assertSame(await lab.contentOf(pointId), lab.image);
  await assertMended(lab);
});

test('a restore makes its private index anew, and the next owner the shared one', async (t) => {
  const lab = await backedUp(t);
  damageIndex(lab);
  await assertSame(await lab.contentOf(lab.point), lab.image);
  assert.match(lab.warnings.join('\n'), /index is damaged and is made anew/);
  await assertOwnerMends(lab);
});

test('a served disk goes on being read', async (t) => {
  const lab = await backedUp(t);
  damageIndex(lab);
  await lab.read(async (repository) => {
    const socketPath = lab.path('s.sock');
    const request = { repository, point: lab.point, disk: 'vda', socketPath, threads: 2 };
    const warn = (message: string): unknown => lab.warnings.push(message);
    const server = await servePoint({ ...request, warn });
    try {
      await run('nbdcopy', server.uri, lab.path('copy.raw'));
    } finally {
      await server.close();
    }
  });
  assert.deepEqual(lab.warnings, []);
  await assertSame(await readFile(lab.path('copy.raw')), lab.image);
  await assertOwnerMends(lab);
});
