/**
 * What must hold of a repository after anything has happened to it: every visible point restores bit for
 * bit, the index agrees with one made anew, verification is clean, work can go on, and after compaction
 * nothing is left that the log does not know.
 */
import assert from 'node:assert/strict';
import {
  repositoryStatistics,
  storedByOwner,
  verifyRepository,
  type Repository,
} from '#repository';
import { assertRestores, backUp, compactRepository, type Disks, type World } from './world.ts';

/** Points that can be seen, in log order. */
export function visibleOf(repository: Repository): string[] {
  return [...repository.state.points.values()]
    .filter((point) => point.visible)
    .map((point) => point.point);
}

/** Everything restores and verifies, the index included, and every stored byte has one owner. Changes nothing. */
export async function assertWhole(world: World, repository: Repository): Promise<void> {
  await assertRestores(world, repository);
  const verified = await verifyRepository(repository, { readDataPercent: 100 });
  assert.deepEqual(verified.damage, []);
  assert.deepEqual(verified.points, []);
  assert.equal(verified.ok, true);
  const owned = [...(await storedByOwner(repository.parts)).values()];
  const sum = owned.reduce((all, bytes) => all + bytes, 0);
  assert.equal(sum, repositoryStatistics(repository.parts).liveBytes);
}

/** The objects are exactly those that the log's state knows, and nothing is unfinished. */
export function assertNothingUnknown(world: World, repository: Repository): void {
  assertOnlyKnown(repository, {
    names: [...world.disk.objects.keys()],
    unfinished: Array.from(world.disk.unfinished, (put) => put.name),
  });
}

/** The same of any store. */
export function assertOnlyKnown(
  { state }: Repository,
  found: { readonly names: readonly string[]; readonly unfinished: readonly string[] },
): void {
  const known = new Set(['repository.json']);
  for (let number = 0; number <= state.number; number += 1) known.add(`log/${digits(number)}`);
  for (const pack of state.packs.keys()) known.add(`packs/${pack.slice(0, 2)}/${pack}`);
  for (const point of state.points.values()) known.add(`points/${point.item}/${point.point}`);
  const isKnown = (name: string): boolean =>
    known.has(name) || (name.startsWith('checkpoint/') && known.has(`log/${name.slice(11)}`));
  const names = new Set(found.names);
  const keys = found.names.filter((name) => name.startsWith('keys/'));
  const unknown = found.names.filter((name) => !isKnown(name) && !keys.includes(name));
  assert.deepEqual(unknown, [], 'the log does not know these objects');
  assert.equal(keys.length, 1, 'key slots');
  const gone = [...known].filter((name) => !names.has(name));
  assert.deepEqual(gone, [], 'the log knows these objects and they are gone');
  assert.deepEqual(found.unfinished, [], 'unfinished objects are left');
}

function digits(number: number): string {
  return String(number).padStart(20, '0');
}

/** Whole, able to go on, and tidy. */
export async function assertSound(
  world: World,
  repository: Repository,
  next: { readonly item: string; readonly disks: Disks },
): Promise<void> {
  await assertWhole(world, repository);
  await backUp(world, repository, next);
  await compactRepository(repository.parts);
  await assertWhole(world, repository);
  assertNothingUnknown(world, repository);
}
