/** The disks of a recovery point that a request chooses by their LUNs. */
import { HoldfastError } from '#base';
import type { Point } from './points.ts';

/**
 * @param luns undefined: all disks. The system disk is always with them (R73).
 * @throws {HoldfastError} `UserErrorInvalidDiskSelection` for one that the point has not.
 */
export function disksAt(
  { facts }: Point,
  luns: readonly number[] | undefined,
): Point['facts']['disks'] {
  if (luns === undefined) return facts.disks;
  const there = facts.disks.flatMap(({ lun }) => (lun === undefined ? [] : [lun]));
  const stranger = luns.find((lun) => !there.includes(lun));
  if (stranger === undefined) {
    return facts.disks.filter(({ lun }) => lun === undefined || luns.includes(lun));
  }
  throw new HoldfastError(
    'UserErrorInvalidDiskSelection',
    `The recovery point has no disk at LUN ${stranger}; it has ${there.join(', ') || 'only the system disk'}.`,
  );
}
