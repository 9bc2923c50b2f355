/** Numbers for people: sizes, speeds, durations, times. JSON output carries the plain numbers. */

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Three significant digits in binary units: "0 B", "512 B", "16.0 KiB", "1.50 GiB". */
export function formatBytes(sizeBytes: number): string {
  let value = Math.abs(sizeBytes);
  const sign = sizeBytes < 0 ? '-' : '';
  if (value < 1024) return `${sign}${Math.round(value)} B`;
  let unit = -1;
  do {
    value /= 1024;
    unit += 1;
  } while (value >= 1023.5 && unit < UNITS.length - 1);
  return `${sign}${threeDigits(value)} ${UNITS[unit]}`;
}

export function formatSpeed(sizeBytes: number, seconds: number): string {
  if (seconds <= 0) return '–';
  const mebibytes = sizeBytes / seconds / 1024 ** 2;
  return `${mebibytes < 10 ? mebibytes.toFixed(1) : Math.round(mebibytes)} MiB/s`;
}

/** "0.12 s", "1.2 s", "42 s", "3 min 20 s", "2 h 5 min". */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** ISO 8601 in the local time zone: "2026-08-01T10:11:12+02:00". */
export function formatTime(timeMs: number): string {
  const time = new Date(timeMs);
  const offset = -time.getTimezoneOffset();
  const local = new Date(timeMs + offset * 60_000).toISOString().slice(0, 19);
  const sign = offset < 0 ? '-' : '+';
  return `${local}${sign}${twoDigits(Math.abs(offset) / 60)}:${twoDigits(Math.abs(offset) % 60)}`;
}

/** "1 point", "3 points". */
export function formatCount(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value.toFixed(value >= 9.995 ? 1 : 2);
}

function twoDigits(value: number): string {
  return String(Math.floor(value)).padStart(2, '0');
}
