/** Windows time-zone names, as Azure's policies carry them, and the IANA zones that Luxon knows. */
import { IANAZone } from 'luxon';
import { findWindows, WINDOWS_TO_IANA_MAP, type IanaName } from 'windows-iana';

/** Of each Windows name its zone for the whole world (CLDR's territory 001). */
const IANA_NAMES: ReadonlyMap<string, string> = new Map(
  WINDOWS_TO_IANA_MAP.filter(({ territory }) => territory === '001').map((entry) => [
    entry.windowsName,
    entry.iana[0],
  ]),
);

/** For what does not depend on the year. */
const REFERENCE_MS = Date.UTC(2026, 0, 1);

export function isTimeZone(windowsName: string): boolean {
  return IANA_NAMES.has(windowsName);
}

/** The zone of a Windows name that `isTimeZone` knows. */
export function zoneOf(windowsName: string): IANAZone {
  return IANAZone.create(IANA_NAMES.get(windowsName) ?? 'Etc/UTC');
}

/** The Windows name of an IANA zone, to tell whoever gave that instead. */
export function windowsNameOf(ianaName: string): string | undefined {
  return findWindows(ianaName as IanaName)[0];
}

/**
 * The offset of a zone's standard time, in minutes east of UTC, in the year of `atMs`: the smaller one of
 * January and July. Morocco alone calls its summer time standard, and sets its clocks back for Ramadan.
 */
export function standardOffsetMinutes(windowsName: string, atMs = REFERENCE_MS): number {
  const zone = zoneOf(windowsName);
  const year = new Date(atMs).getUTCFullYear();
  const offsets = [0, 6].map((month) => zone.offset(Date.UTC(year, month, 1)));
  return windowsName === 'Morocco Standard Time' ? Math.max(...offsets) : Math.min(...offsets);
}
