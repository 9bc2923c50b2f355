/** The size of a protected instance and what it counts as (R76 to R78, M26). Pure. */

/** Azure's GB. */
export const GB = 2 ** 30;

const SMALL_GB = 50;
const UNIT_GB = 500;

export type InstanceDisk = {
  /** The first disk. */
  readonly isSystem: boolean;
  readonly sizeBytes: number;
  /** Of blocks that are not zero; undefined: the disk was not backed up. */
  readonly usedBytes: number | undefined;
};

export type InstanceUnits = {
  /** R76: 1 up to 50 GB. */
  readonly small: number;
  /** Of 500 GB, above that. */
  readonly standard: number;
};

/**
 * Bytes.
 *
 * @param disks all that the VM has, but those that cannot be backed up, in any order.
 * @param options.halvesAll R77 for crash-consistent points: half of every disk's size, whatever is known.
 */
export function instanceBytes(
  disks: readonly InstanceDisk[],
  options: { readonly halvesAll: boolean },
): number {
  const backedUp = disks.filter(({ usedBytes }) => usedBytes !== undefined);
  const isSystemOnly = backedUp.every(({ isSystem }) => isSystem);
  const counting = isSystemOnly ? backedUp : disks;
  return counting.reduce((sum, { sizeBytes, usedBytes }) => {
    const half = Math.ceil(sizeBytes / 2);
    return sum + (options.halvesAll ? half : (usedBytes ?? half));
  }, 0);
}

export function instanceUnits(sizeBytes: number): InstanceUnits {
  if (sizeBytes <= SMALL_GB * GB) return { small: 1, standard: 0 };
  return { small: 0, standard: Math.ceil(sizeBytes / (UNIT_GB * GB)) };
}
