/** What backups have left on a VM to follow its changes, for people and for `--json`. */
import type { TrackingMark } from '#backup';
import { formatTable, left } from '../output/table.ts';

/** For `--json`. */
export function trackingValue({ fault, ...mark }: TrackingMark): Record<string, unknown> {
  return {
    ...mark,
    usable: fault === undefined,
    ...(fault === undefined ? {} : { reason: fault }),
  };
}

export function trackingTable(marks: readonly TrackingMark[]): string {
  return formatTable(
    [left('REPOSITORY'), left('DISK'), left('SINCE POINT'), left('BITMAP')],
    marks.map(({ repositoryId, disk, point, fault }) => [
      repositoryId,
      disk,
      point,
      fault ?? 'usable',
    ]),
  );
}
