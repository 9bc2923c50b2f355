/** Whose a folder is, and as whom to go on, for messages of what this user may not do there. */
import { readFile, stat } from 'node:fs/promises';

/** "it belongs to backup: run as that user, or as root"; without a name where the folder cannot be looked at. */
export async function asWhomToRun(folder: string): Promise<string> {
  let uid: number;
  try {
    ({ uid } = await stat(folder));
  } catch {
    return 'run as the owner of the folder, or as root';
  }
  if (uid === 0) return 'it belongs to root: run as root';
  return `it belongs to ${await nameOfUser(uid)}: run as that user, or as root`;
}

/** Users of a directory service are not in the file: of them the number is told. */
async function nameOfUser(uid: number): Promise<string> {
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const line = users.split('\n').find((user) => user.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? `the user ${uid}`;
}
