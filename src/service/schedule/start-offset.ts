/**
 * Spread (R12, M21): VMs of one run time do not start at once. Each has an offset of its own, always the
 * same, evenly spread over the first two hours of the interval, or a quarter of it if that is less: 100 VMs
 * at 02:00 have all started by 04:00, and none starts near its next run.
 */
import { createHash } from 'node:crypto';
import type { BackupPolicy, Schedule } from '../policy/backup-policy.ts';

const MINUTE_MS = 60_000;
/** R12's two hours, less five minutes in which the last job begins. */
const LATEST_START_MS = 115 * MINUTE_MS;
const SHARE_OF_INTERVAL = 1 / 4;
const HASH_BYTES = 6;

/**
 * How long after its scheduled time an item's backup starts.
 *
 * @param spreadMs the setting: over how long starts are spread at most; 0: all at once.
 * @returns a whole number of milliseconds, at least 0 and less than `spreadMs`.
 */
export function startOffsetMs(itemId: string, policy: BackupPolicy, spreadMs: number): number {
  const shareMs = intervalHours(policy.schedule) * 60 * MINUTE_MS * SHARE_OF_INTERVAL;
  const rangeMs = Math.min(spreadMs, LATEST_START_MS, shareMs);
  const hash = createHash('sha256').update(itemId).digest();
  return Math.floor((hash.readUIntBE(0, HASH_BYTES) / 2 ** (8 * HASH_BYTES)) * rangeMs);
}

/** The shortest time between two runs, clocks that are set forward aside. */
function intervalHours(schedule: Schedule): number {
  return schedule.frequency === 'hourly' ? schedule.intervalHours : 24;
}
