/** Options of the form `DISK=VALUE` that may be repeated: `--disk vda=web.qcow2 --format vda=qcow2`. */
import { UsageError } from '../usage-error.ts';

/** What a disk may be called: as in libvirt, and in file names. */
const DISK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export function parseDiskName(text: string): string {
  if (DISK_NAME.test(text)) return text;
  throw new UsageError(
    `"${text}" is not the name of a disk: use up to 63 letters, digits, ".", "_" and "-"`,
  );
}

/** The values by disk, in the order they were given. */
export function parseDiskValues(
  option: string,
  texts: readonly string[] = [],
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const text of texts) {
    const [name, value] = splitAtFirst(text);
    if (value === undefined || value === '') {
      throw new UsageError(`${option} ${text}: write DISK=VALUE, for example ${exampleOf(option)}`);
    }
    if (values.has(parseDiskName(name))) {
      throw new UsageError(`${option} names the disk ${name} twice`);
    }
    values.set(name, value);
  }
  return values;
}

/** That an option speaks only of disks that `--disk` names. */
export function checkNamesDisks(
  option: string,
  values: ReadonlyMap<string, string>,
  disks: ReadonlyMap<string, string>,
): void {
  const stranger = [...values.keys()].find((name) => !disks.has(name));
  if (stranger === undefined) return;
  throw new UsageError(`${option} names the disk ${stranger}, which no --disk names`);
}

function splitAtFirst(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function exampleOf(option: string): string {
  if (option === '--format') return '--format vda=qcow2';
  return option === '--disk' ? '--disk vda=disk.qcow2' : `${option} vda=changed.json`;
}
