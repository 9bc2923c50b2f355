/** `holdfast repo verify`: checks the repository; damage is listed with the points it touches, exit 1. */
import { shellQuoted } from '#base';
import { verify as verifyRepository, type VerifyResult } from '#backup';
import { parsePercent } from '../arguments/size.ts';
import type { Context } from '../context.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount, formatDuration } from '../output/units.ts';

/** @returns the exit code. */
export async function verify(
  context: Context,
  { location, readData }: { readonly location: string; readonly readData: string | undefined },
): Promise<number> {
  const readDataPercent =
    readData === undefined ? undefined : parsePercent('--read-data', readData);
  const { clock } = context.surroundings;
  const { onProgress } = context.terminal;
  const startMs = clock.monotonicMs();
  const found = await context.withRepository(
    { location, access: 'read' },
    async (repository) =>
      await verifyRepository(repository, {
        signal: context.signal,
        ...(readDataPercent === undefined ? {} : { readDataPercent }),
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
  );
  const seconds = (clock.monotonicMs() - startMs) / 1000;
  context.terminal.result({ ...found, seconds }, () =>
    found.ok ? describeSound(found, { seconds, location }) : describeDamage(found, location),
  );
  if (found.ok) return 0;
  context.terminal.note(
    `holdfast: the repository in ${location} is damaged: ${damageCount(found)}, ${touchedCount(found)}`,
  );
  return 1;
}

function describeSound(
  { checked }: VerifyResult,
  { seconds, location }: { readonly seconds: number; readonly location: string },
): string {
  const read =
    checked.readBytes > 0
      ? `${formatBytes(checked.readBytes)} of data read and checked`
      : `data not read (holdfast repo verify ${shellQuoted(location)} --read-data)`;
  return (
    `No damage, checked in ${formatDuration(seconds)}: ${formatCount(checked.points, 'point')}, ` +
    `${formatCount(checked.packs, 'pack')}, ${formatCount(checked.blocks, 'block')}, ` +
    `${checked.logEntries} log entries, the index; ${read}.`
  );
}

function describeDamage(found: VerifyResult, location: string): string {
  const objects = formatTable(
    [left('DAMAGED OBJECT'), right('FRAME'), right('POINTS TOUCHED'), left('WHY')],
    found.damage.map(({ object, frame, points, why, code }) => [
      object,
      frame === undefined ? '' : String(frame),
      points === undefined ? '?' : String(points.length),
      `${why} [${code}]`,
    ]),
  );
  const disks = found.points.flatMap(({ point, item, disks: touched }) =>
    touched.map(({ name, lostBlocks, lostPages, firstOffset }) => [
      point,
      item,
      name,
      String(lostBlocks),
      String(lostPages),
      firstOffset === undefined ? '' : String(firstOffset),
    ]),
  );
  const columns = [
    ...['POINT', 'ITEM', 'DISK'].map(left),
    ...['LOST BLOCKS', 'LOST PAGES', 'FIRST AT BYTE'].map(right),
  ];
  const points =
    disks.length === 0
      ? 'Every point can still be restored whole.'
      : `These disks cannot be restored whole:\n\n${formatTable(columns, disks)}`;
  return [
    ...(found.damage.length === 0 ? [] : [objects]),
    points,
    ...adviceFor(found, location),
  ].join('\n\n');
}

function adviceFor({ damage, points }: VerifyResult, location: string): string[] {
  const advice: string[] = [];
  if (points.length > 0) {
    const items = [...new Set(points.map(({ item }) => item))].join(', ');
    advice.push(
      `What to do: back up ${items} again, which stores anew what the disks still have, then verify ` +
        'again. Where a copy of the repository exists, put the damaged objects back from it.',
    );
  } else if (damage.some(({ object }) => object.startsWith('packs/'))) {
    advice.push(
      `What to do: nothing is lost. holdfast repo compact ${shellQuoted(location)} removes the damaged packs.`,
    );
  }
  if (damage.some(({ object }) => object.startsWith('points/'))) {
    advice.push(
      'What to do about points/…: put the object back from a copy of the repository, or expire the point ' +
        '(the last part of the name); its disks restore all the same.',
    );
  }
  if (damage.some(({ object }) => object === 'index')) {
    advice.push(`What to do: holdfast repo rebuild-index ${shellQuoted(location)}`);
  }
  return advice;
}

function damageCount({ damage }: VerifyResult): string {
  return formatCount(new Set(damage.map(({ object }) => object)).size, 'damaged object');
}

function touchedCount({ points }: VerifyResult): string {
  return points.length === 0
    ? 'every point restores'
    : `${formatCount(points.length, 'point')} not restorable whole`;
}
