/**
 * What use does to a repository: many points with scattered changes, most of them expired, compacted;
 * its restores and size beside fresh repositories with the same content.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { backUpDisks } from '#backup';
import { compactRepository, expirePoints } from '#repository';
import {
  clock,
  holdfast,
  holdfastBytes,
  inRepository,
  makeRepository,
  type OpenRepository,
} from '../measuring/holdfast.ts';
import { runCommand, type Measured } from '../measuring/run-command.ts';
import {
  mebibytes,
  median,
  printNote,
  printTable,
  RUN_COLUMNS,
  runCells,
  tell,
} from '../measuring/tables.ts';
import {
  churn,
  freshFolder,
  makeImage,
  mustEqual,
  settleDisk,
  type Workplace,
} from '../measuring/workplace.ts';

type Aged = {
  readonly ids: readonly string[];
  readonly beforeBytes: number;
  readonly expirySeconds: number;
  readonly compactSeconds: number;
};

export async function age(place: Workplace): Promise<void> {
  const { ageDataMib, ageGib, agePoints, ageKept } = place.scale;
  const old = freshFolder(place, 'aged');
  const aged = await makeOld(place, old);
  const agedBytes = holdfastBytes(old);
  const images = freshFolder(place, 'images');
  const image = (id: string): string => join(images, `${id}.raw`);
  for (const id of aged.ids) await runCommand(restoreCommand(old, id, image(id)));
  const [oldest, newest] = [aged.ids[0]!, aged.ids.at(-1)!];
  mustEqual(image(newest), join(place.folder, 'ageing.raw'));

  const fresh = freshFolder(place, 'fresh');
  const freshIds = await backUpAll(fresh, aged.ids.map(image));
  const lone = freshFolder(place, 'lone');
  const [loneId] = await backUpAll(lone, [image(newest)]);
  const rows = await timeRestores(place, [
    { title: 'aged, newest', location: old, id: newest, expected: image(newest) },
    { title: 'aged, oldest', location: old, id: oldest, expected: image(oldest) },
    {
      title: `fresh with the same ${ageKept} points, newest`,
      location: fresh,
      id: freshIds.at(-1)!,
      expected: image(newest),
    },
    {
      title: `fresh with the same ${ageKept} points, oldest`,
      location: fresh,
      id: freshIds[0]!,
      expected: image(oldest),
    },
    {
      title: 'fresh with the newest point only',
      location: lone,
      id: loneId!,
      expected: image(newest),
    },
  ]);
  printTable(
    `Restores after ${agePoints} points of a ${ageGib} GiB disk with ${ageDataMib} MiB of files, 1 % scattered churn each, expired to the last ${ageKept}, compacted`,
    ['repository and point', ...RUN_COLUMNS],
    rows,
  );
  const freshBytes = holdfastBytes(fresh);
  printNote(
    `Stored: ${mebibytes(aged.beforeBytes)} MiB with ${agePoints} points, ${mebibytes(agedBytes)} MiB after expiry (${aged.expirySeconds.toFixed(2)} s) and compaction (${aged.compactSeconds.toFixed(1)} s); fresh with the same ${ageKept} points ${mebibytes(freshBytes)} MiB: ${(agedBytes / freshBytes).toFixed(3)}×. Objects in packs/: ${objectCount(old)}, fresh ${objectCount(fresh)}.`,
  );
  for (const folder of [old, fresh, lone, images]) rmSync(folder, { recursive: true });
  rmSync(join(place.folder, 'ageing.raw'));
}

async function makeOld(place: Workplace, location: string): Promise<Aged> {
  const { ageDataMib, ageGib, agePoints, ageKept } = place.scale;
  const disk = join(place.folder, 'ageing.raw');
  makeImage(disk, ageGib, ageDataMib);
  await makeRepository(location);
  return await inRepository(location, async (repository) => {
    const ids: string[] = [];
    const seconds: number[] = [];
    for (let point = 0; point < agePoints; point++) {
      if (point > 0) churn(disk, Math.round((ageDataMib * 1024 ** 2) / 100), point);
      const { pointId, seconds: took } = await backUp(repository, disk);
      ids.push(pointId);
      seconds.push(took);
      if (point % 10 === 9)
        tell(`age: ${point + 1} points, last ${median(seconds.slice(-10)).toFixed(2)} s each`);
    }
    const beforeBytes = holdfastBytes(location);
    const expired = ids.slice(0, -ageKept);
    const start = performance.now();
    await expirePoints(repository.parts, expired);
    const expirySeconds = (performance.now() - start) / 1000;
    const compactStart = performance.now();
    const done = await compactRepository(repository.parts);
    const compactSeconds = (performance.now() - compactStart) / 1000;
    tell(`age: compacted in ${compactSeconds.toFixed(1)} s: ${JSON.stringify(done)}`);
    return { ids: ids.slice(-ageKept), beforeBytes, expirySeconds, compactSeconds };
  });
}

async function backUp(
  repository: OpenRepository,
  disk: string,
): Promise<{ readonly pointId: string; readonly seconds: number }> {
  const disks = [{ name: 'vda', location: disk }];
  return await backUpDisks({ repository, item: 'vm', disks, clock });
}

async function backUpAll(location: string, images: readonly string[]): Promise<string[]> {
  await makeRepository(location);
  return await inRepository(location, async (repository) => {
    const ids: string[] = [];
    for (const image of images) ids.push((await backUp(repository, image)).pointId);
    return ids;
  });
}

type Case = {
  readonly title: string;
  readonly location: string;
  readonly id: string;
  readonly expected: string;
};

async function timeRestores(place: Workplace, cases: readonly Case[]): Promise<string[][]> {
  const runs = cases.map((): Measured[] => []);
  for (let round = 0; round < place.scale.rounds; round++) {
    for (const [at, { title, location, id, expected }] of cases.entries()) {
      const to = join(freshFolder(place, 'restored'), 'disk.raw');
      settleDisk();
      runs[at]!.push(await runCommand(restoreCommand(location, id, to)));
      tell(`age: ${title}: ${runs[at]!.at(-1)!.seconds.toFixed(2)} s`);
      mustEqual(expected, to);
    }
  }
  freshFolder(place, 'restored');
  return cases.map(({ title }, at) => [title, ...runCells(runs[at]!)]);
}

function restoreCommand(location: string, id: string, to: string): ReturnType<typeof holdfast> {
  return holdfast('restore', location, id, '--item', 'vm', '--disk', `vda=${to}`);
}

function objectCount(repository: string): number {
  const packs = readdirSync(join(repository, 'packs'), { recursive: true, withFileTypes: true });
  return packs.filter((entry) => entry.isFile()).length;
}
