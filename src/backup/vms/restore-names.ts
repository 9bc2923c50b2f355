/** Names of restored images, as Azure gives them (rule R70), so that no two restores meet. */

export type RestoreName = { readonly vm: string; readonly disk: number; readonly timeMs: number };

/**
 * `<vm>-osdisk-<yyyymmdd>-<hhmmss>` for the first disk, `<vm>-datadisk-<lun>-…` for the others, LUNs from 0.
 * The time is that of the restore, in UTC; lower case; the VM's hyphens are dropped, and what has no
 * place in a file name becomes an underscore.
 */
export function restoredImageName({ vm, disk, timeMs }: RestoreName): string {
  const name = vm
    .toLowerCase()
    .replaceAll('-', '')
    .replaceAll(/[^\p{L}\p{N}._]/gu, '_');
  const [date, time] = new Date(timeMs).toISOString().slice(0, 19).split('T') as [string, string];
  const stamp = `${date.replaceAll('-', '')}-${time.replaceAll(':', '')}`;
  const role = disk === 0 ? 'osdisk' : `datadisk-${disk - 1}`;
  return `${name === '' ? 'vm' : name}-${role}-${stamp}`;
}
