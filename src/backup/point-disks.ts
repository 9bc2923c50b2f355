/** Finds the disks of a recovery point by name, and says what there is where there is none. */
import { HoldfastError } from '#base';
import type { Repository } from '#repository';

export type PointDisk = {
  readonly name: string;
  readonly root: string;
  readonly sizeBytes: number;
};

/** @throws {HoldfastError} `PointNotFound`. */
export function disksOf(repository: Repository, point: string): readonly PointDisk[] {
  const { points } = repository.state;
  const known = points.get(point);
  if (known?.visible === true) return known.disks;
  const visible = [...points.values()].filter((other) => other.visible).map((other) => other.point);
  const what = visible.length === 0 ? 'there is none' : `there is ${listed(visible)}`;
  throw new HoldfastError('PointNotFound', `there is no recovery point ${point}: ${what}`, {
    details: { point },
  });
}

/** @throws {HoldfastError} `PointNotFound`, `DiskNotFound`. */
export function diskOf(
  repository: Repository,
  { point, disk }: { readonly point: string; readonly disk: string },
): PointDisk {
  const disks = disksOf(repository, point);
  const known = disks.find(({ name }) => name === disk);
  if (known !== undefined) return known;
  const names = disks.map(({ name }) => name);
  throw new HoldfastError(
    'DiskNotFound',
    `the recovery point ${point} has no disk ${disk}: it has ${listed(names)}`,
    { details: { point, disk } },
  );
}

const LISTED = 5;

/** The last few of a list. */
function listed(names: readonly string[]): string {
  const shown = names.slice(-LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}
