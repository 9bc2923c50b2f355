/** Durations as texts. */

/** ISO 8601, as Azure's clients read it: `PT1H2M3.4S`. @param durationMs not negative. */
export function isoDuration(durationMs: number): string {
  const hours = Math.floor(durationMs / 3_600_000);
  const minutes = Math.floor(durationMs / 60_000) % 60;
  const seconds = Number(((durationMs % 60_000) / 1000).toFixed(3));
  const parts = [hours > 0 ? `${hours}H` : '', minutes > 0 ? `${minutes}M` : ''].join('');
  return `PT${parts}${seconds > 0 || parts === '' ? `${seconds}S` : ''}`;
}

/** Days and a clock, as Azure says how long a soft-deleted item has: `13.23:59:58`. */
export function timeSpan(durationMs: number): string {
  const whole = Math.max(0, Math.floor(durationMs / 1000));
  const two = (count: number): string => String(count).padStart(2, '0');
  const clock = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60].map(two);
  return `${Math.floor(whole / 86_400)}.${clock.join(':')}`;
}
